from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.evaluation import evaluate_froc
from lungdet.evaluation.frames import FRAMES, to_lps
from lungdet.evaluation.points import Points, annotations_by_scan
from lungdet.io.luna16 import read_marks, read_seriesuids
from lungdet.io.reference_set import official_reference

Scans = dict[str, Points]


def written_in(frame: str, marks: Scans) -> Scans:
    """The same marks as a program would write that uses another frame."""
    columns, signs = FRAMES[frame]
    back = np.argsort(columns)
    return {
        uid: ((centers * signs)[:, back], scores)
        for uid, (centers, scores) in marks.items()
    }


def scene(
    rng: np.random.Generator, scans: int, rate: float
) -> tuple[Scans, Scans]:
    """Nodules in a chest, and marks of which ``rate`` lie on nodules."""
    low, high = [-150, -120, -300], [150, 120, -20]
    nodules, marks = {}, {}
    for k in range(scans):
        centers = rng.uniform(low, high, (4, 3))
        nodules[f's{k}'] = centers, np.full(4, 9.0)
        points = rng.uniform(low, high, (20, 3))
        hit = rng.random(20) < rate
        chosen = centers[rng.integers(0, 4, 20)] + rng.normal(0, 1, (20, 3))
        points[hit] = chosen[hit]
        marks[f's{k}'] = points, rng.random(20)
    return nodules, marks


def caveats_of(nodules: Scans, marks: Scans) -> dict[str, str]:
    result = evaluate_froc(nodules, {}, marks, list(nodules))
    return {caveat.name: caveat.text for caveat in result.caveats}


@pytest.mark.parametrize('frame', FRAMES)
def test_the_frame_that_fits_is_named(frame: str) -> None:
    nodules, marks = scene(np.random.default_rng(1), 3, 0.3)

    caveats = caveats_of(nodules, written_in(frame, marks))

    assert f'read as {frame};' in caveats['other-frame']


@pytest.mark.parametrize('frame', FRAMES)
def test_what_was_written_in_a_frame_comes_back(frame: str) -> None:
    _, marks = scene(np.random.default_rng(2), 1, 0.3)

    written = written_in(frame, marks)['s0'][0]

    np.testing.assert_array_equal(to_lps(written, frame), marks['s0'][0])


@pytest.mark.parametrize('rate', [0.0, 0.02, 0.3])
def test_marks_in_the_right_frame_are_never_doubted(rate: float) -> None:
    rng = np.random.default_rng(3)
    for scans in [1, 2, 5] * 40:
        caveats = caveats_of(*scene(rng, scans, rate))
        assert 'other-frame' not in caveats


@pytest.mark.parametrize(('scans', 'hits'), [(3, 1), (7, 2)])
def test_a_mark_that_hits_by_chance_does_not_hide_the_frame(
    scans: int, hits: int
) -> None:
    nodules, _ = scene(np.random.default_rng(5), scans, 0.0)
    marks = {
        uid: (centers[:3], np.ones(3)) for uid, (centers, _) in nodules.items()
    }
    written = written_in('x with the other sign', marks)
    for uid in [*nodules][:hits]:  # a nodule of the other lung, mirrored
        centers = np.r_[nodules[uid][0], written[uid][0][:1]]
        nodules[uid] = centers, np.full(len(centers), 9.0)

    caveats = caveats_of(nodules, written)

    assert f'{hits} of {3 * scans} marks lie' in caveats['other-frame']
    assert 'read as x with the other sign;' in caveats['other-frame']


def test_marks_that_no_frame_explains_are_told() -> None:
    nodules, marks = scene(np.random.default_rng(4), 30, 0.0)
    marks['s0'][0][0] = nodules['s0'][0][0]

    caveats = caveats_of(nodules, marks)

    assert 'no other order or sign' in caveats['marks-beside-findings']


@pytest.mark.parametrize('frame', FRAMES)
def test_a_public_submission_in_each_frame(
    test_data: Path, frame: str
) -> None:
    folder = test_data / 'froc-oracles'
    uids = read_seriesuids(folder / 'deepseed_fold9_seriesuids.csv')
    marks = read_marks(folder / 'deepseed_fold9.csv')
    reference = official_reference()
    tables = (
        annotations_by_scan(reference.annotations),
        annotations_by_scan(reference.excluded),
    )

    right = evaluate_froc(*tables, marks, uids)
    wrong = evaluate_froc(*tables, written_in(frame, marks), uids)

    assert 'other-frame' not in [c.name for c in right.caveats]
    (caveat,) = [c for c in wrong.caveats if c.name == 'other-frame']
    assert f'but 392 read as {frame};' in caveat.text


def test_marks_that_the_cap_cuts_do_not_count() -> None:
    """They are hardly ever on findings, so they would look displaced."""
    rng = np.random.default_rng(6)
    nodules, marks = scene(rng, 5, 0.5)
    many = {
        uid: (
            np.r_[centers, rng.uniform(-300, 300, (6000, 3))],
            np.r_[1 + scores, rng.random(6000) / 2],
        )
        for uid, (centers, scores) in marks.items()
    }

    def told(max_marks: int | None) -> bool:
        result = evaluate_froc(
            nodules, {}, many, list(nodules), max_marks=max_marks
        )
        names = {caveat.name for caveat in result.caveats}
        return 'marks-beside-findings' in names

    assert told(None) and not told(20)
