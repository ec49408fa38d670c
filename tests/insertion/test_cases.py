"""Cases with inserted nodules: a test that knows what it is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets.folds import split_series
from lungdet.errors import ConfigError
from lungdet.insertion.cases import InsertOptions, insert_cases
from lungdet.io.case_store import CaseStore, record_file
from lungdet.io.nodule_library import write_library
from tests.datasets.stores import airy_store, balls_store
from tests.io.nodules import ball_nodule


@pytest.fixture(scope='module')
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return airy_store(tmp_path_factory.mktemp('scans'))


@pytest.fixture(scope='module')
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('library') / 'nodules.npz'
    nodules = [
        ball_nodule(f'{n}', diameter_mm=5.0 + n / 3, shape=(9, 30, 30))
        for n in range(6)
    ]
    write_library(path, nodules)
    return path


def test_every_case_says_what_is_in_it(
    scans: Path, library: Path, tmp_path: Path
) -> None:
    summary = insert_cases(scans, library, tmp_path, InsertOptions(draws=2))

    before, after = CaseStore(scans), CaseStore(tmp_path)
    assert len(after.records) == summary.cases == summary.written == 8
    nodules = [n for r in after.records.values() for n in r.nodules]
    assert len(nodules) == summary.nodules > 20
    for uid, record in after.records.items():
        scan = uid.split('-')[0]
        assert record.kind == 'inserted'
        assert {scan, f'P{scan}'} <= set(record.made_of)
        assert any(name.startswith('P-') for name in record.made_of)
        change = after.read(uid, 'image') - before.read(scan, 'image')
        mask = after.read(uid, 'mask')
        for nodule in record.nodules:
            voxels = mask == nodule.id
            assert change[voxels].mean() > 200
            index = record.geometry.to_index([nodule.center_mm])[0]
            assert np.abs(np.argwhere(voxels).mean(0) - index).max() < 0.6
        shams = len(record.settings['shams_mm'])
        assert shams >= 3
        assert record.caveats[-1] == (
            f'{len(record.nodules)} nodules and {shams} shams were inserted'
        )


def test_nodules_and_shams_are_counted_apart(
    scans: Path,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('lungdet.insertion.cases.draw_sham', lambda *_: None)

    insert_cases(scans, library, tmp_path)

    for record in CaseStore(tmp_path).records.values():
        count = len(record.nodules)
        assert count > 0 and record.settings['shams_mm'] == []
        assert record.caveats[-1] == (
            f'{count} nodules and 0 shams were inserted'
        )


def test_a_run_goes_on_and_gives_the_same(
    scans: Path, library: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / 'one', tmp_path / 'two'
    insert_cases(scans, library, one)
    insert_cases(scans, library, two)
    uid = '3.2-inserted-0'
    record_file(two, uid).unlink()

    summary = insert_cases(scans, library, two)

    assert summary.written == 1
    left, right = (CaseStore(root).records[uid] for root in (one, two))
    assert left.checksums == right.checksums
    insert_cases(scans, library, tmp_path / 'other', InsertOptions(seed=1))
    other = CaseStore(tmp_path / 'other').records[uid]
    assert other.checksums != left.checksums


@pytest.mark.parametrize(
    ('nodules', 'options'),
    [
        ('library', InsertOptions(draws=1)),
        ('library', InsertOptions(draws=2, seed=1)),
        ('library', InsertOptions(draws=2, part=(1, 2))),
        ('parametric', InsertOptions(draws=2)),
    ],
)
def test_a_folder_with_cases_of_another_run_is_refused(
    scans: Path,
    library: Path,
    tmp_path: Path,
    nodules: str,
    options: InsertOptions,
) -> None:
    insert_cases(scans, library, tmp_path, InsertOptions(draws=2))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')}
    source = library if nodules == 'library' else nodules

    with pytest.raises(ConfigError, match='Choose another folder'):
        insert_cases(scans, source, tmp_path, options)

    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')}
    # more draws of the same go on
    more = insert_cases(scans, library, tmp_path, InsertOptions(draws=3))
    assert (more.cases, more.written) == (12, 4)


def test_parametric_nodules_have_no_parts(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='have no patients'):
        insert_cases(scans, 'parametric', tmp_path, InsertOptions(part=(1, 3)))


def test_parts_share_no_patient(
    scans: Path, library: Path, tmp_path: Path
) -> None:
    donors = []
    for number in (1, 2):
        out = tmp_path / str(number)
        insert_cases(scans, library, out, InsertOptions(part=(number, 2)))
        donors.append(
            {
                name
                for record in CaseStore(out).records.values()
                for name in record.made_of
                if name.startswith('P-')
            }
        )

    assert donors[0] and donors[1] and not donors[0] & donors[1]
    with pytest.raises(ConfigError, match='part 900 of 900 has no nodules'):
        insert_cases(
            scans, library, tmp_path / '3', InsertOptions(part=(900, 900))
        )


def test_real_nodules_are_neither_hit_nor_false(
    tmp_path: Path,
) -> None:
    balls = balls_store(tmp_path / 'balls')
    insert_cases(balls, 'parametric', tmp_path / 'out')

    before, after = CaseStore(balls), CaseStore(tmp_path / 'out')
    record = after.records['1.1-parametric-0']
    real = before.records['1.1']
    assert record.kind == 'parametric'
    assert record.made_of == ['1.1']
    excluded = {finding.center_mm for finding in record.excluded}
    assert {nodule.center_mm for nodule in real.nodules} <= excluded


def test_a_training_on_a_scan_or_donor_of_the_test_is_refused(
    scans: Path, library: Path, tmp_path: Path
) -> None:
    insert_cases(scans, library, tmp_path)
    records = {**CaseStore(scans).records, **CaseStore(tmp_path).records}
    options = {'test_subsets': (), 'val_subsets': (), 'val_series': None}

    with pytest.raises(ConfigError, match='keep a patient on one side'):
        split_series(records, test_series=['3.1-inserted-0'], **options)
    inserted = CaseStore(tmp_path).records
    # patient P-0 gave a nodule to a case of another patient's scan
    uid = next(u for u, r in inserted.items() if 'P-0' in r.made_of)
    donor = replace(records['3.4'], series_uid='8.1', patient_id='P-0')
    with pytest.raises(ConfigError, match='patient P-0 is in test and in tr'):
        split_series(
            {uid: inserted[uid], '8.1': donor}, test_series=[uid], **options
        )
    parts = split_series(inserted, test_series=[*inserted], **options)
    assert not parts['train'] and len(parts['test']) == 4
