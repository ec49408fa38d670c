from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.evaluation import (
    CaseOptions,
    EvaluationReport,
    ScanMasks,
    ScoredScan,
    case_reference,
    evaluate_cases,
    score_scan_masks,
)
from lungdet.io.reference_set import official_reference
from lungdet.structures import (
    Annotation,
    CaseNodule,
    CaseRecord,
    SeriesResult,
)
from tests.evaluation.case_scene import (
    GRID,
    ONE,
    TWO,
    case,
    detection,
    scene,
)
from tests.schemas import assert_valid


def evaluate(**options: object) -> EvaluationReport:
    scans, records = scene()
    return evaluate_cases(
        scans, records, CaseOptions(**options), official=official_reference()
    )


def test_figures_of_a_scene_worked_by_hand() -> None:
    report = evaluate(bootstrap=0)

    # the moved mark is 2 mm from the centre, at the radius, so no hit
    assert report.result.counts['tp'] == 1
    assert set(report.parts) == {'rpn'}
    # boxes: IoU 1 of .9, nothing of .8, 1/3 of .7; three nodules. Up to
    # IoU .3 precision 1 to recall 1/3 (34 of 101), 2/3 to 2/3 (33)
    low, high = (34 + 33 * 2 / 3) / 101, 34 / 101
    assert report.precision.values == pytest.approx([low] * 5 + [high] * 4)
    masks = report.masks
    assert masks['detected']['dice'] == (1.0, 1)
    assert masks['all']['dice'] == pytest.approx((1 / 3, 3))
    # in the cube of b's nodule half the voxels are predicted: Dice 2/3
    assert masks['box']['dice'] == pytest.approx(((1 + 0 + 2 / 3) / 3, 3))
    # matched: a's first one, and b's, half of each mask: Dice 1/2
    assert masks['matched']['dice'] == pytest.approx(((1 + 1 / 2) / 2, 2))
    # scan a: 128 reference, 64 + 8 predicted, 64 common; scan b: Dice 1/2
    assert masks['scan']['dice'] == pytest.approx(
        ((2 * 64 / (128 + 72) + 1 / 2) / 2, 2)
    )
    assert report.metrics()['mask/dice_all'] == pytest.approx(1 / 3)
    assert '2 scans of 2 listed, 3 nodules' in report.text()


def test_a_tested_run_follows_the_schema_of_a_report() -> None:
    report = evaluate(bootstrap=20, strata='diameter')

    assert_valid('froc', report.to_dict())
    assert report.to_dict()['sha256'] is None


def test_official_annotations_are_called_so() -> None:
    official = official_reference()
    uid = official.seriesuids[0]
    nodules = [
        CaseNodule(k, a.center_mm, a.diameter_mm, (0.0,) * 6)
        for k, a in enumerate(official.annotations[uid], start=1)
    ]
    record = CaseRecord(
        uid, 8, GRID, GRID, 1.0, nodules, official.excluded[uid], 'given'
    )

    def name(record: CaseRecord, uid: str = uid) -> str:
        return case_reference({uid: record}, official).name

    assert name(record) == 'official'
    assert name(record, uid='1.2') == 'prepared'
    assert name(replace(record, excluded=record.excluded[1:])) == 'prepared'
    assert name(replace(record, nodules=nodules[1:])) == 'prepared'


@pytest.mark.parametrize(
    ('column', 'nodules'),
    [
        ('diameter', {'< 6 mm': 3}),
        ('num_readers', {'3': 2, '4': 1}),
        ('subset', {'0': 2, '1': 1}),
    ],
)
def test_strata_of_prepared_fields(column: str, nodules: dict) -> None:
    report = evaluate(strata=column, bootstrap=0)

    counts = {
        label: stratum.result.counts['nodules']
        for label, stratum in report.strata.items()
    }
    assert counts == nodules
    assert f'by {column}:' in report.text()


def test_strata_of_no_prepared_field() -> None:
    with pytest.raises(ConfigError, match="'colour' is neither"):
        evaluate(strata='colour')


def test_cap_and_read_out_are_passed_on() -> None:
    capped = evaluate(max_marks=1, read_out='next').result

    assert capped.marks_cut == 1 and capped.read_out == 'next'


def test_given_candidates_are_summarised_without_the_cap() -> None:
    report = evaluate(max_marks=1, candidates=True, bootstrap=0)

    assert report.candidates.candidates == 3
    assert report.candidates.reached == 1


def test_excluded_findings_and_scans_without_masks() -> None:
    record, _ = case('a', 0, ONE)
    (center,) = GRID.box_center_world(np.array([TWO]))
    record.excluded.append(Annotation(tuple(center.tolist()), None))
    detections = [
        detection(ONE, 0.9, masked=False),
        detection(TWO, 0.8, masked=False),
    ]
    result = SeriesResult('a', detections, GRID)

    masks = score_scan_masks(record, result, None)

    assert masks == ScanMasks()
    report = evaluate_cases(
        {'a': ScoredScan(result)},
        {'a': record},
        official=official_reference(),
    )
    assert report.result.counts['ignored_excluded'] == 1
    assert report.masks == {}


def test_what_a_run_says_of_its_scans_is_said_once() -> None:
    scans, records = scene()
    for scan in scans.values():
        scan.result.caveats.append('trained with labels on these scans')

    report = evaluate_cases(scans, records, official=official_reference())

    assert report.run_caveats == ['trained with labels on these scans']
    assert report.caveats[-1].count == 2
    assert 'caveat: tested-run: trained with labels' in report.text()


def test_losses_are_means_of_the_scans_that_have_them() -> None:
    scans, records = scene()
    scans['a'] = replace(scans['a'], losses={'loss_a': 1.0, 'loss_b': 3.0})

    report = evaluate_cases(scans, records, official=official_reference())

    assert report.losses == {
        'loss_a': 1.0,
        'loss_b': 3.0,
        'loss': 4.0,
    }
    assert report.metrics()['loss'] == 4.0


def test_without_a_nodule_there_is_no_cpm_to_log() -> None:
    scans, records = scene()
    records = {u: replace(r, nodules=[]) for u, r in records.items()}
    scans = {u: replace(s, masks=ScanMasks()) for u, s in scans.items()}

    report = evaluate_cases(scans, records, official=official_reference())

    assert report.result.cpm is None
    assert not [name for name in report.metrics() if name.startswith('froc')]
