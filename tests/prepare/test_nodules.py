"""Nodules are cut out of a table of crops or of a store, with their site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.cli import main
from lungdet.errors import SeriesError
from lungdet.insertion.cases import insert_cases
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.io.nodule_library import read_library
from lungdet.prepare import prepare_nodules
from lungdet.prepare.nodules import surroundings
from tests.datasets.stores import (
    CUBES,
    balls_store,
    cubes_store,
    lungs_store,
)
from tests.io.nodules import ball_nodule


def write_table(path: Path) -> Path:
    """An archive of two crops in the keys of the LIDC crops."""
    nodules = [ball_nodule('a'), ball_nodule('b', shape=(7, 30, 33))]
    masks = np.concatenate([n.mask.ravel() for n in nodules])
    np.savez(
        path,
        hu=np.concatenate([n.hu.ravel() for n in nodules]),
        mask=np.packbits(masks),
        offset=np.cumsum([0, *(n.hu.size for n in nodules)]),
        shape_zyx=np.array([n.hu.shape for n in nodules]),
        spacing_xyz=np.array([n.spacing[::-1] for n in nodules]),
        patient=np.array([n.patient for n in nodules]),
        seriesuid=np.array([n.series_uid for n in nodules]),
        diameter_mm=np.array([n.diameter_mm for n in nodules]),
        ratings=np.array([[5.0, 2.0], [3.0, 1.0]], dtype=np.float32),
        rating_names=np.array(['Texture', 'Spiculation']),
    )
    return path


def test_a_table_becomes_a_library(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table, out = write_table(tmp_path / 'voi.npz'), tmp_path / 'out.npz'

    assert main(['prepare', 'nodules', str(table), str(out)]) == 0

    assert '2 nodules of 2 patients' in capsys.readouterr().out
    first, second = read_library(out)
    wanted = ball_nodule('b', shape=(7, 30, 33))
    assert (second.hu == wanted.hu).all()
    assert (second.mask == wanted.mask).all()
    assert second.spacing == (2.0, 0.7, 0.7)
    assert first.ratings == {'Texture': 5.0, 'Spiculation': 2.0}
    assert (first.patient, first.series_uid) == ('P-a', '1.2.a')


def test_nodules_of_a_store_keep_their_voxels(tmp_path: Path) -> None:
    store = CaseStore(cubes_store(tmp_path / 'store'))

    lines = prepare_nodules(store.root, tmp_path / 'out.npz')

    nodules = read_library(tmp_path / 'out.npz')
    assert len(nodules) == 9 and '9 nodules of 3 patients' in lines[0]
    for nodule, number in zip(nodules, (1, 2, 3)):
        z1, y1, x1, z2, y2, x2 = CUBES[number - 1]
        inside = nodule.hu[nodule.mask]
        assert inside.size == (z2 - z1) * (y2 - y1) * (x2 - x1)
        assert (inside == 100 * number).all()
    assert nodules[0].patient == nodules[0].series_uid == '1.1'


def test_nodules_of_a_store_without_a_mask_are_counted(
    tmp_path: Path,
) -> None:
    store = CaseStore(cubes_store(tmp_path / 'store'))
    root, record = store.root, store.records['1.1']
    first, *others = record.nodules
    bare = replace(first, has_mask=False, mask_box=None)
    names = ('image', 'mask', 'lungs')
    arrays = {name: store.read('1.1', name) for name in names}
    write_case(root, replace(record, nodules=[bare, *others]), arrays)
    rebuild_index(root)

    lines = prepare_nodules(root, tmp_path / 'out.npz')

    assert '8 nodules of 3 patients' in lines[0]
    assert lines[1] == '1 without a mask left out'


def test_inserted_nodules_are_of_no_patient_of_their_scan(
    tmp_path: Path,
) -> None:
    balls = balls_store(tmp_path / 'balls')
    insert_cases(balls, 'parametric', tmp_path / 'inserted')

    with pytest.raises(SeriesError, match='give the folder of the scans'):
        prepare_nodules(tmp_path / 'inserted', tmp_path / 'out.npz')

    assert not (tmp_path / 'out.npz').exists()


def test_without_masks_nothing_is_written(tmp_path: Path) -> None:
    store = lungs_store(tmp_path / 'store')

    with pytest.raises(SeriesError, match='no nodule has a mask'):
        prepare_nodules(store, tmp_path / 'out.npz')

    np.savez(tmp_path / 'other.npz', x=np.zeros(2))
    with pytest.raises(SeriesError, match='no archive of LIDC crops'):
        prepare_nodules(tmp_path / 'other.npz', tmp_path / 'out.npz')
    assert not (tmp_path / 'out.npz').exists()


@pytest.mark.parametrize(
    ('columns', 'direction'),
    [(slice(26, None), (0, 1)), (slice(None, 14), (0, -1))],
)
def test_the_wall_is_found_on_its_side(
    columns: slice, direction: tuple[int, int]
) -> None:
    hu = np.full((6, 40, 40), -850)
    mask = np.zeros(hu.shape, dtype=bool)
    mask[1:5, 17:23, 16:24] = True
    hu[mask] = 0
    hu[:, :, columns] = 40

    around = surroundings(hu, mask, (2.5, 0.7, 0.7))

    assert around.site == 'pleura'
    assert around.wall_mm == pytest.approx(3 * 0.7 - 0.7)
    assert np.allclose(around.wall_direction, direction, atol=0.1)


def test_a_strand_is_a_vessel_and_no_wall() -> None:
    hu = np.full((6, 40, 40), -850)
    mask = np.zeros(hu.shape, dtype=bool)
    mask[1:5, 17:23, 16:22] = True
    hu[mask] = 0
    hu[2:4, 18:21, 22:] = 40  # to the border, but of 50 mm2

    around = surroundings(hu, mask, (1, 1, 1))

    assert around == ('vessel', None, None)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'offset': np.array([0, 5, 9])}, 'contradict each other'),
        ({'shape_zyx': np.ones((3, 3), int)}, 'different lengths'),
        ({'shape_zyx': np.ones(2, int)}, 'axis'),
        ({'mask': np.zeros(3, np.float32)}, 'unsigned byte'),
        ({'spacing_xyz': np.zeros((2, 3))}, 'spacing or a diameter'),
        ({'spacing_xyz': np.full((2, 3), np.nan)}, 'not numbers'),
        ({'diameter_mm': np.array([5.0, -1.0])}, 'spacing or a diameter'),
        ({'hu': np.array(['a', 'b'])}, 'contradict each other'),
    ],
)
def test_crops_that_contradict_each_other_are_refused(
    tmp_path: Path, change: dict, reason: str
) -> None:
    with np.load(write_table(tmp_path / 'voi.npz')) as table:
        arrays = {name: table[name] for name in table.files}
    np.savez(tmp_path / 'voi.npz', **{**arrays, **change})

    with pytest.raises(SeriesError, match=f'no archive of LIDC .*{reason}'):
        prepare_nodules(tmp_path / 'voi.npz', tmp_path / 'out.npz')
