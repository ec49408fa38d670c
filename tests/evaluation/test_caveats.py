from __future__ import annotations

import numpy as np

from lungdet.evaluation import RATES, Caveat, FROCCurve, evaluate_froc
from lungdet.evaluation.curve import read_interp, read_step, steps_at
from tests.evaluation.points import at

UIDS = [f's{k:02d}' for k in range(24)]
POSITIVE = UIDS[:12]  # these have a nodule, the others an excluded finding


NODULES = {u: at((-40, 10, -90, 8)) for u in POSITIVE}
EXCLUDED = {u: at((50, -60, -70, -1)) for u in UIDS}
GOOD = {u: at((-40, 11, -90, 0.75), (9, 9, -9, 0.25)) for u in UIDS}


def caveats_of(
    marks: dict, uids: list = UIDS, max_marks: int | None = 100
) -> dict[str, Caveat]:
    result = evaluate_froc(NODULES, EXCLUDED, marks, uids, max_marks=max_marks)
    return {caveat.name: caveat for caveat in result.caveats}


def test_a_sound_submission_has_only_the_end_of_its_curve_told() -> None:
    # 36 false positives on 24 scans: the curve ends at 1.5
    caveats = caveats_of(GOOD)

    assert set(caveats) == {'short-curve'}
    assert caveats['short-curve'].count == 3  # of the rates 2, 4 and 8
    assert 'ends at 1.5 false' in caveats['short-curve'].text


def test_marks_of_scans_that_are_not_listed() -> None:
    caveats = caveats_of(GOOD | {'x': GOOD['s00'], 'y': GOOD['s00']})

    assert caveats['unlisted-marks'].count == 4
    assert '4 marks of 2 scans' in caveats['unlisted-marks'].text
    assert "first: 'x'" in caveats['unlisted-marks'].text


def test_listed_scans_without_marks() -> None:
    caveats = caveats_of({u: m for u, m in GOOD.items() if u != 's05'})

    assert caveats['scans-without-marks'].count == 1
    assert '1 of 24 listed scans' in caveats['scans-without-marks'].text
    assert "'s05'" in caveats['scans-without-marks'].text


def test_marks_of_the_positive_scans_over_all_scans() -> None:
    caveats = caveats_of({u: GOOD[u] for u in POSITIVE})

    assert caveats['negative-scans-unmarked'].count == 12
    one_more = caveats_of({u: GOOD[u] for u in UIDS[:13]})
    assert 'negative-scans-unmarked' not in one_more


def test_a_list_of_the_positive_scans_only() -> None:
    caveats = caveats_of(GOOD, uids=POSITIVE)

    assert caveats['negative-scans-unlisted'].count == 12
    assert 'Over 24 scans' in caveats['negative-scans-unlisted'].text
    assert 'negative-scans-unlisted' not in caveats_of(GOOD, uids=UIDS[:13])


def test_rows_that_repeat_another() -> None:
    row = (9, 9, -9, 0.25)
    doubled = at(row, row, (-40, 11, -90, 0.75), row)

    caveats = caveats_of(GOOD | {'s03': doubled})

    assert caveats['repeated-marks'].count == 2


def test_nodules_that_stand_twice_in_the_table() -> None:
    nodules = NODULES | {'s02': at(*[(-40, 10, -90, 8)] * 3)}

    result = evaluate_froc(nodules, EXCLUDED, GOOD, UIDS)

    (caveat,) = [n for n in result.caveats if n.name == 'repeated-nodules']
    assert caveat.count == 2 and result.counts['nodules'] == 14


def test_coordinates_that_look_like_voxels() -> None:
    voxels = {u: at((210, 180, 90, 0.5)) for u in UIDS}

    caveats = caveats_of(voxels)

    assert caveats['voxel-coordinates'].count == 24
    assert '100% of the reference' in caveats['voxel-coordinates'].text
    assert caveats['no-mark-on-a-finding'].count == 24


def test_mirrored_coordinates_meet_no_finding() -> None:
    mirrored = {u: (-c, s) for u, (c, s) in GOOD.items()}

    caveats = caveats_of(mirrored)

    assert caveats['no-mark-on-a-finding'].count == 48
    assert 'voxel-coordinates' not in caveats


def test_scans_whose_marks_lie_beside_the_body() -> None:
    # s00: findings at x -40 and 50; ten marks at x 251 are 201 mm beyond,
    # on s13 199 mm
    far = {
        uid: at(*[(x, -60, -70, k / 10) for k in range(10)])
        for uid, x in (('s00', 251), ('s13', 249))
    }

    caveats = caveats_of(GOOD | far)

    assert caveats['displaced-scans'].count == 1
    assert '1 scan with 1 nodule' in caveats['displaced-scans'].text
    assert "'s00'" in caveats['displaced-scans'].text


def test_scores_that_are_no_probabilities() -> None:
    logits = {u: (c, s * 8 - 3) for u, (c, s) in GOOD.items()}

    caveats = caveats_of(logits)

    assert caveats['scores-outside-0-1'].count == 48
    assert '(-1 to 3)' in caveats['scores-outside-0-1'].text


def test_ties_at_the_cap() -> None:
    # six marks, cap 4: the fifth score is .5, and all three of it go
    tied = at(*[(k, 0, 0, 0.9 if k < 3 else 0.5) for k in range(6)])

    caveats = caveats_of(GOOD | {'s00': tied}, max_marks=4)

    assert caveats['cap-ties'].count == 1
    assert 'dropped 1 mark of 1 scan, tied' in caveats['cap-ties'].text
    assert 'cap-ties' not in caveats_of(GOOD | {'s00': tied}, max_marks=3)


def test_no_marks_and_no_nodules() -> None:
    assert caveats_of({})['no-marks'].count == 24
    assert 'no-nodules' in caveats_of(GOOD, uids=UIDS[12:])


def test_a_step_exactly_at_a_rate() -> None:
    # 88 scans: 1/8 per scan is 11 false positives. The only nodule comes
    # between the 11th and the 12th of 1358; (11 / 1358) * 1358 / 88 lies one
    # unit in the last place above 1/8
    rows = [(9, 9, -9, 1 - k / 2000) for k in range(1358)]
    hit = (-40, 11, -90, 1 - 10.5 / 2000)
    uids = ['s00', *(f'x{k}' for k in range(87))]

    caveats = caveats_of({'s00': at(hit, *rows)}, uids=uids, max_marks=None)

    assert (11 / 1358) * 1358 / 88 > 1 / 8
    assert caveats['step-at-rate'].count == 1


def test_ties_of_true_and_false_positives_are_no_step_at_a_rate() -> None:
    """The two readings of a sloped segment differ by rounding alone."""
    rng = np.random.default_rng(0)
    told = []
    for _ in range(200):
        scores = np.round(rng.random(60), 1)
        false = rng.random(60) < 0.8
        curve = FROCCurve.of(scores[~false], scores[false], 20, 13)
        gap = read_step(curve, RATES) - read_interp(curve, RATES)
        told.append((gap != 0).any())
        assert not steps_at(curve, RATES)[np.abs(gap) < 1e-12].any()
    assert any(told)  # rounding does differ
