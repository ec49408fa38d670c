from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import ConfigError, SeriesError
from lungdet.exporters import (
    DEFAULT_FORMATS,
    EXPORTERS,
    Exporter,
    check_formats,
    check_source,
    export_result,
    make_result_folder,
    registry,
)
from lungdet.structures import SourceSlice
from tests.exporters import dicom_scene
from tests.exporters.scene import GRID, empty_result, make_result

IMAGE = np.zeros(GRID.shape, np.int16)
ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'infer.md'
COUNTS = """
from lungdet.exporters.base import Exporter

def write_count(folder, scan):
    text = str(len(scan.result.detections))
    (folder / 'count.txt').write_text(text)
    return ['count.txt']

EXPORTER = Exporter(['count.txt'], write_count)
"""
EXPORTED = """
import sys
from lungdet.exporters import export_result
from tests.exporters.scene import make_result

result = export_result(sys.argv[1], make_result(), ['json', 'counts'])
print(result.files)
"""


def test_the_default_files(tmp_path: Path) -> None:
    written = export_result(tmp_path, make_result(), image=IMAGE)

    assert {path.name for path in tmp_path.iterdir()} == {
        'result.json',
        'marks.csv',
        'masks.nii.gz',
        'marks.png',
        'report.html',
    }
    content = json.loads((tmp_path / 'result.json').read_text())
    assert content['files'] == {
        name: [*files]
        for name, files in written.files.items()
        if name != 'json'
    }


def test_nothing_of_an_earlier_export_is_left(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('kept')
    export_result(tmp_path, make_result(), image=IMAGE)

    export_result(tmp_path, empty_result(), ['json'])

    assert {path.name for path in tmp_path.iterdir()} == {
        'notes.txt',
        'result.json',
    }


def test_files_are_the_listed_ones(tmp_path: Path) -> None:
    """What is not listed would survive a later export."""
    for name, exporter in EXPORTERS.items():
        if exporter.needs_dicom:
            continue
        folder = tmp_path / name
        folder.mkdir()
        written = export_result(folder, make_result(), [name], image=IMAGE)
        assert {*written.files[name]} == {
            str(path.relative_to(folder))
            for path in folder.rglob('*')
            if path.is_file()
        }
        registry.remove_exports(folder)
        assert not [path for path in folder.rglob('*') if path.is_file()]


def test_what_headers_say_about_a_person_is_in_dicom_alone(
    tmp_path: Path,
) -> None:
    """Neither from the headers nor from the folder's name."""
    pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")
    result = dicom_scene.write_series(tmp_path / 'Doe P1')
    out = tmp_path / 'out'
    out.mkdir()

    export_result(out, result, [*EXPORTERS])

    files = [path for path in out.rglob('*') if path.is_file()]
    named = {
        path.name
        for path in files
        if re.search(rb'Doe|P1|19500101', path.read_bytes())
    }
    assert named == {'seg.dcm', 'sr.dcm'} and len(files) > len(named)


def test_one_more_file_is_one_more_format(tmp_path: Path) -> None:
    """In a copy of the package, which names the format nowhere else."""
    shutil.copytree(
        ROOT / 'lungdet',
        tmp_path / 'lungdet',
        ignore=shutil.ignore_patterns('weights', '__pycache__'),
    )
    added = tmp_path / 'lungdet' / 'exporters' / 'counts.py'
    added.write_text(COUNTS)
    out = tmp_path / 'out'
    out.mkdir()

    run = subprocess.run(
        [sys.executable, '-c', EXPORTED, str(out)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stderr
    files = {'counts': ['count.txt'], 'json': ['result.json']}
    assert run.stdout == f'{files}\n'
    assert (out / 'count.txt').read_text() == '2'
    listed = json.loads((out / 'result.json').read_text())['files']
    assert listed == {'counts': ['count.txt']}


def test_listing_the_formats_loads_none_of_their_libraries() -> None:
    heavy = {'SimpleITK', 'highdicom', 'matplotlib', 'nibabel', 'pydicom'}
    code = (
        'import sys, lungdet.exporters; '
        f'print(sorted({heavy} & sys.modules.keys()))'
    )

    run = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
    )

    assert run.stdout == '[]\n', run.stderr


def test_formats_come_once_and_in_the_order_of_writing() -> None:
    """What refers to other files is written after them."""
    names = [*EXPORTERS]

    assert check_formats(['json', 'nifti', 'json']) == ('nifti', 'json')
    assert names.index('dicom_seg') < names.index('dicom_sr')
    assert names[-1] == 'json'
    assert {*DEFAULT_FORMATS} <= {*names}


def test_unknown_formats_are_named() -> None:
    with pytest.raises(ConfigError, match="'nifty' unknown; choose from"):
        check_formats(['json', 'nifty'])


def test_a_format_that_cannot_be_had_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unused(*_: object) -> list[str]:
        raise AssertionError

    exporter = Exporter(
        ['x'], unused, library='no_such_library', extra='x', needs_dicom=True
    )
    monkeypatch.setitem(EXPORTERS, 'json', exporter)

    with pytest.raises(ConfigError, match=r"no_such.*'lungdet\[x\]'"):
        check_formats(['json'])
    with pytest.raises(SeriesError, match='scan 1.2: json refers to DICOM'):
        check_source(['json'], '1.2', [])


def test_slices_without_a_name_are_refused() -> None:
    """Before the network runs, and not by a library behind it."""
    slices = [
        SourceSlice(Path('a.dcm'), GRID, sop_instance_uid='1.2.1'),
        SourceSlice(Path('b.dcm'), GRID),
    ]

    check_source(['dicom_seg', 'dicom_sr'], '1.2', slices[:1])
    check_source(['json'], '1.2', slices)
    with pytest.raises(SeriesError, match='SOPInstanceUID.* 1 of 2 .*b.dcm'):
        check_source(['dicom_seg', 'dicom_sr'], '1.2', slices)


def test_a_file_where_the_folder_should_be_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / 'out').write_text('a file')

    with pytest.raises(NotADirectoryError, match='out: is a file'):
        make_result_folder(tmp_path / 'out')


def test_the_page_lists_every_format() -> None:
    rows = re.findall(r'^\| `(\w+)` \| `', PAGE.read_text(), re.M)

    assert sorted(rows) == sorted(EXPORTERS)
