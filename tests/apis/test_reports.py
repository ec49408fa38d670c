from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis.inference_record import InferenceRecord
from lungdet.apis.reports import write_run_report, write_scan_report
from lungdet.errors import ConfigError, SeriesError
from lungdet.evaluation import CaseOptions
from lungdet.exporters import export_result
from lungdet.io.case_store import CaseStore
from lungdet.io.image import write_image
from lungdet.io.luna16 import write_table
from lungdet.io.predictions import CasePredictions
from lungdet.io.reference_set import official_reference
from lungdet.report.run_scoring import RunScoring
from lungdet.structures import SeriesResult
from tests.report.html.parsing import ParsedPage
from tests.report.html.scene import GRID, NODULES, ball, make_image
from tests.report.html.scene import make_result as make_scene_result

NOT_RESAMPLED = CaseOptions(bootstrap=0)


def parsed(path: Path) -> ParsedPage:
    return ParsedPage(path.read_text(encoding='utf-8'))


def with_masks() -> SeriesResult:
    """The first detection with its mask."""
    result = make_scene_result()
    first = result.detections[0]
    mask = ball(NODULES[0])
    low, high = np.argwhere(mask).min(0), np.argwhere(mask).max(0) + 1
    region = tuple(slice(a, b) for a, b in zip(low, high))
    box = tuple(int(v) for v in (*low, *high))
    first = replace(first, mask=mask[region], mask_box=box)
    return replace(result, detections=[first, *result.detections[1:]])


@pytest.mark.parametrize('flips', [(), (0,), (1, 2)])
def test_a_result_and_its_scan_become_a_page(
    tmp_path: Path, flips: tuple[int, ...]
) -> None:
    """However the scan is stored."""
    array, grid = make_image().array, GRID
    for axis in flips:
        array, grid = np.flip(array, axis), grid.flip(axis)
    write_image(tmp_path / 'scan.mha', array, grid)
    result = replace(with_masks(), source_geometry=grid)
    (tmp_path / 'out').mkdir()
    export_result(tmp_path / 'out', result, ['json', 'nifti'])
    table = [
        dict(zip(('coordX', 'coordY', 'coordZ'), n.center_mm))
        | {'seriesuid': result.series_uid, 'diameter_mm': n.diameter_mm}
        for n in NODULES
    ]
    write_table(tmp_path / 'nodules.csv', table)

    write_scan_report(
        tmp_path / 'report.html',
        tmp_path / 'out',
        scan=tmp_path / 'scan.mha',
        annotations=tmp_path / 'nodules.csv',
    )

    page = parsed(tmp_path / 'report.html')
    text = ' '.join(page.texts)
    assert 'nodules.csv: 3 nodules, 2 hit, 1 missed' in text
    assert len(page.all('path', 'outline')) == 3
    first = 30 if flips != (0,) else 1
    assert page.data()['captions'][0] == f'slice {first} of 30, -62.0 mm'
    kinds = [b['kind'] for b in page.data()['boxes']]
    assert kinds == [
        *('hit', 'hit', 'false', 'false'),
        *('nodule',) * 2,
        'missed',
    ]


def test_the_nodules_of_a_scan_of_luna16_are_known(tmp_path: Path) -> None:
    official = official_reference()
    uid, nodules = next(iter(official.annotations.items()))
    export_result(tmp_path, make_scene_result(uid), ['json'])

    write_scan_report(tmp_path / 'a.html', tmp_path / 'result.json')

    text = ' '.join(parsed(tmp_path / 'a.html').texts)
    assert f'LUNA16: {len(nodules)} nodule' in text
    assert 'No pictures' in text


def test_a_folder_of_several_results_names_one(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        (tmp_path / 'out' / name).mkdir(parents=True)
        export_result(tmp_path / 'out' / name, make_scene_result(), ['json'])
    (tmp_path / 'none').mkdir()

    with pytest.raises(SeriesError, match='2 results, give each.*out/a'):
        write_scan_report(tmp_path / 'r.html', tmp_path / 'out')
    with pytest.raises(SeriesError, match='none: has no result.json; give'):
        write_scan_report(tmp_path / 'r.html', tmp_path / 'none')


def record_of(folder: Path, **settings: object) -> None:
    InferenceRecord('1.2.3', 0, None, (), {}, settings).write(folder)


def test_the_offset_that_infer_added_is_in_its_record(tmp_path: Path) -> None:
    export_result(tmp_path, make_scene_result(), ['json'])
    write_image(tmp_path / 'scan.mha', make_image().array + 1024, GRID)
    page = tmp_path / 'a.html'

    with pytest.raises(SeriesError, match='give --hu-offset -1024'):
        write_scan_report(page, tmp_path, scan=tmp_path / 'scan.mha')
    record_of(tmp_path, hu_offset=None)
    with pytest.raises(SeriesError, match='give --hu-offset -1024'):
        write_scan_report(page, tmp_path, scan=tmp_path / 'scan.mha')
    record_of(tmp_path, hu_offset=-1024)
    write_scan_report(page, tmp_path, scan=tmp_path / 'scan.mha')

    with_offset = parsed(page).data()
    record_of(tmp_path, hu_offset='a lot')
    with pytest.raises(SeriesError, match=r'inference\.json'):
        write_scan_report(page, tmp_path, scan=tmp_path / 'scan.mha')
    write_image(tmp_path / 'hu.mha', make_image().array, GRID)
    write_scan_report(
        page, tmp_path, scan=tmp_path / 'hu.mha', hu_offset=-1024
    )
    assert parsed(page).data() == with_offset


def test_another_scan_is_refused(tmp_path: Path) -> None:
    export_result(tmp_path, make_scene_result(), ['json'])
    image = make_image()
    write_image(
        tmp_path / 'other.mha',
        image.array[1:],
        GRID.crop((1, 0, 0), (29, 60, 80)),
    )

    with pytest.raises(SeriesError, match='give the scan that'):
        write_scan_report(
            tmp_path / 'a.html', tmp_path, scan=tmp_path / 'other.mha'
        )
    with pytest.raises(ConfigError, match='--annotations too'):
        write_scan_report(tmp_path / 'a.html', tmp_path, excluded='x.csv')
    with pytest.raises(FileNotFoundError):
        write_scan_report(tmp_path / 'a.html', tmp_path / 'no.json')
    assert not (tmp_path / 'a.html').exists()


def write_run(
    folder: Path,
    store: CaseStore,
    *,
    shift: float = 0.0,
    max_marks: int = 100,
) -> None:
    """A run that detects both nodules of each scan."""
    options = replace(NOT_RESAMPLED, max_marks=max_marks)
    run = RunScoring(store, options, folder)
    scans = [
        run.score(
            uid,
            CasePredictions(
                np.array([n.box for n in record.nodules]) + shift,
                np.array([0.9, 0.4]),
            ),
            record.geometry.affine,
            {},
        )
        for uid, record in store.records.items()
    ]
    run.report(scans, list(store.records))


def test_runs_are_read_scored_and_overlaid(
    tmp_path: Path, tiny_store: Path
) -> None:
    store = CaseStore(tiny_store)
    for name, shift in (('good', 0.0), ('bad', 40.0)):
        write_run(tmp_path / name / 'test', store, shift=shift)

    write_run_report(
        tmp_path / 'froc.html',
        [tmp_path / 'good' / 'test', tmp_path / 'bad' / 'test'],
        cases=tiny_store,
        options=NOT_RESAMPLED,
    )

    page = parsed(tmp_path / 'froc.html')
    text = ' '.join(page.texts)
    assert 'good/test, bad/test' in text or 'good/test' in page.texts
    assert 'good/test by diameter' in page.texts
    assert '1.000' in text
    stored = json.loads((tmp_path / 'bad' / 'test' / 'froc.json').read_text())
    assert f'{stored["cpm"]:.3f}' in text
    assert 'another reference' not in text
    assert page.all('figure', 'picture')


def test_a_reference_that_is_not_the_tests_is_told(
    tmp_path: Path, tiny_store: Path
) -> None:
    write_run(tmp_path / 'run', CaseStore(tiny_store))
    path = tmp_path / 'run' / 'froc.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'cpm': 0.5}))

    write_run_report(
        tmp_path / 'a.html',
        [tmp_path / 'run'],
        cases=tiny_store,
        options=NOT_RESAMPLED,
    )

    text = ' '.join(parsed(tmp_path / 'a.html').texts)
    assert 'froc.json of the test has 0.5' in text


def test_runs_that_cannot_be_scored_are_refused(
    tmp_path: Path, tiny_store: Path
) -> None:
    store = CaseStore(tiny_store)
    write_run(tmp_path / 'run', store)
    page = tmp_path / 'a.html'

    with pytest.raises(ConfigError, match='not of LUNA16.*--cases'):
        write_run_report(page, [tmp_path / 'run'])
    with pytest.raises(FileNotFoundError):
        write_run_report(page, [tmp_path / 'no'], cases=tiny_store)
    detections = tmp_path / 'run' / 'detections.json'
    content = json.loads(detections.read_text())
    (tmp_path / 'part').mkdir()
    for name, values in (
        ('detections.json', content[:-1]),
        (
            'froc.json',
            json.loads((tmp_path / 'run' / 'froc.json').read_text()),
        ),
    ):
        (tmp_path / 'part' / name).write_text(json.dumps(values))
    with pytest.raises(ConfigError, match='on other scans'):
        write_run_report(
            page,
            [tmp_path / 'run', tmp_path / 'part'],
            cases=tiny_store,
            options=NOT_RESAMPLED,
        )
    detections.write_text('[{}]')
    with pytest.raises(SeriesError, match=r'detections\.json'):
        write_run_report(page, [tmp_path / 'run'], cases=tiny_store)


def rewrite(folder: Path, name: str, **values: object) -> None:
    path = folder / name
    content = json.loads(path.read_text())
    for one in content if isinstance(content, list) else [content]:
        one.update(values)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize('of_cases', [True, False])
def test_the_caveats_of_a_run_are_on_its_page(
    of_cases: bool, tmp_path: Path, tiny_store: Path
) -> None:
    """With its cases, and by LUNA16's reference."""
    folder, text = tmp_path / 'run', 'trained on 2 of these test scans'
    write_run(folder, CaseStore(tiny_store))
    rewrite(folder, 'detections.json', caveats=[text])
    for path in (folder / 'scans').glob('*.json'):
        path.unlink()
    if not of_cases:
        scans = json.loads((folder / 'detections.json').read_text())
        for scan, uid in zip(scans, official_reference().seriesuids):
            scan['series_uid'] = uid
        (folder / 'detections.json').write_text(json.dumps(scans))

    write_run_report(
        tmp_path / 'a.html',
        [folder],
        cases=tiny_store if of_cases else None,
        options=NOT_RESAMPLED,
    )

    assert text in ' '.join(parsed(tmp_path / 'a.html').texts)


def test_runs_that_tested_the_scans_in_another_order_are_compared(
    tmp_path: Path, tiny_store: Path
) -> None:
    store, folders = CaseStore(tiny_store), [tmp_path / 'a', tmp_path / 'b']
    for folder in folders:
        write_run(folder, store)
    path = folders[1] / 'detections.json'
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))

    write_run_report(
        tmp_path / 'a.html',
        folders,
        cases=tiny_store,
        options=CaseOptions(bootstrap=5),
    )

    assert '+0.000' in ' '.join(parsed(tmp_path / 'a.html').texts)


def test_a_run_is_scored_by_its_own_cap(
    tmp_path: Path, tiny_store: Path
) -> None:
    folder, store = tmp_path / 'run', CaseStore(tiny_store)
    write_run(folder, store, max_marks=1)
    assert json.loads((folder / 'froc.json').read_text())['max_marks'] == 1

    write_run_report(
        tmp_path / 'a.html',
        [folder],
        cases=tiny_store,
        options=NOT_RESAMPLED,
    )

    text = ' '.join(parsed(tmp_path / 'a.html').texts)
    assert 'another reference' not in text
