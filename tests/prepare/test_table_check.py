from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, write_image
from lungdet.io.luna16 import read_annotations
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_folder
from lungdet.prepare.discover import ScanSource, discover_scans
from lungdet.prepare.label_image import LabelImageReferences
from lungdet.prepare.positions import in_air
from lungdet.prepare.references import TableReferences
from lungdet.prepare.scan import load_scan
from lungdet.prepare.table_check import check_positions
from lungdet.prepare.task import ScanTask
from lungdet.prepare.world_boxes import BoxReferences
from lungdet.structures import Annotation
from tests.prepare.scans import table_of


@pytest.fixture(scope='module')
def more(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four whole scans under names that LUNA16 does not have."""
    out = tmp_path_factory.mktemp('renamed')
    for k, path in enumerate(sorted(test_data.glob('luna16-more/*/*.mhd'))):
        if path.parent.name.startswith('subset'):
            raw = path.with_suffix('.zraw')
            shutil.copy(raw, out)
            (out / f'{k}.mhd').write_text(path.read_text())
            (out / f'{k}.uid').write_text(path.stem)
    return out


def tasks_of(folder: Path, test_data: Path, turn: object) -> list[ScanTask]:
    table = read_annotations(test_data / 'luna16-more' / 'annotations.csv')
    tasks = []
    for source in discover_scans(folder):
        uid = (folder / f'{source.uid}.uid').read_text()
        rows = [
            Annotation(turn(*row.center_mm), row.diameter_mm)
            for row in table[uid]
        ]
        tasks.append(ScanTask(source, TableReferences(tuple(rows))))
    return tasks


def test_the_right_table_of_real_scans_is_not_doubted(
    more: Path, test_data: Path
) -> None:
    tasks = tasks_of(more, test_data, lambda x, y, z: (x, y, z))

    assert len(tasks) == 4
    assert check_positions(tasks) == []


@pytest.mark.parametrize(
    ('turn', 'name'),
    [
        (lambda x, y, z: (-x, -y, z), 'x and y with the other sign (RAS)'),
        (lambda x, y, z: (-x, y, z), 'x with the other sign'),
        (lambda x, y, z: (x, y, -z), 'z with the other sign'),
        (lambda x, y, z: (z, y, x), 'columns in the order z, y, x'),
        (lambda x, y, z: (y, x, z), 'columns in the order y, x, z'),
    ],
)
def test_wrong_tables_of_real_scans_are_refused_by_name(
    more: Path, test_data: Path, turn: object, name: str
) -> None:
    with pytest.raises(AnnotationError, match='only [01] of 5') as caught:
        check_positions(tasks_of(more, test_data, turn))

    assert f'but 5 read as {name};' in str(caught.value)


def test_voxels_and_mirrored_scans_are_named(
    more: Path, test_data: Path
) -> None:
    for written, name in (
        (lambda index, n: index[::-1], 'voxels x, y, z;'),
        (lambda index, n: index, 'voxels z, y, x;'),
        (
            lambda index, n: (index[2], index[1], n[0] - 1 - index[0]),
            'voxels x, y, z from the other end of z;',
        ),
    ):
        tasks = []
        for task in tasks_of(more, test_data, lambda *point: point):
            grid = load_volume(task.source.path).geometry
            rows = [
                Annotation(
                    tuple(
                        written(
                            grid.to_index(np.array([row.center_mm]))[0],
                            grid.shape,
                        )
                    ),
                    row.diameter_mm,
                )
                for row in task.references.table_rows()
            ]
            tasks.append(ScanTask(task.source, TableReferences(tuple(rows))))
        with pytest.raises(AnnotationError, match=name):
            check_positions(tasks)


@pytest.mark.parametrize('seed', range(3))
def test_phantoms_have_the_nodules_of_their_table(
    tmp_path: Path, seed: int
) -> None:
    write_luna16_phantoms(
        tmp_path, scans=2, seed=seed, size='small', progress=False
    )
    table = read_annotations(tmp_path / 'annotations.csv')
    tasks = [
        ScanTask(source, TableReferences(tuple(table.get(source.uid, ()))))
        for source in discover_scans(tmp_path)
    ]

    assert check_positions(tasks) == []
    for task in tasks:
        assert in_air(load_scan(task), task.references.table_rows()) == []


def test_rows_that_nothing_explains_are_told_and_prepared(
    tmp_path: Path,
) -> None:
    """Even tissue holds nothing like a nodule, wherever one looks."""
    array = np.full((12, 20, 18), 40, np.int16)
    array[:, :2] = -900
    grid = Geometry.from_parts(
        array.shape, spacing_zyx=(6.0, 4.0, 4.0), origin_xyz=(1, 2, 3)
    )
    (tmp_path / 'scans').mkdir()
    write_image(tmp_path / 'scans' / 'a.mhd', array, grid)
    rows = [grid.to_world(np.array([[6.0, 11, x]]))[0] for x in (6, 8, 10)]
    text = ''.join(f'a,{x},{y},{z},8\n' for x, y, z in rows)

    summary = prepare_folder(
        tmp_path / 'scans',
        tmp_path / 'out',
        annotations=table_of(tmp_path, text),
        progress=False,
    )

    assert not summary.failed
    assert 'no usual mistake explains it' in summary.table()


def test_rows_of_each_source(tmp_path: Path) -> None:
    rows = (Annotation((1, 2, 3), 4.0),)
    (row,) = BoxReferences(((0, 0, 0, 2, 2, 2),)).table_rows()

    assert TableReferences(rows).table_rows() == rows
    assert row.center_mm == (1, 1, 1)
    assert row.diameter_mm == pytest.approx(2)
    assert LabelImageReferences(tmp_path / 'a.mhd').table_rows() == ()


def test_scans_that_cannot_be_read_are_left_to_their_preparation(
    tmp_path: Path,
) -> None:
    rows = (Annotation((1, 2, 3), 4.0),) * 3
    (tmp_path / 'a.mhd').write_text('no header')
    source = ScanSource('a', tmp_path / 'a.mhd')

    assert check_positions([ScanTask(source, TableReferences(rows))]) == []
    assert check_positions([]) == []
