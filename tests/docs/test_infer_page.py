"""What docs/infer.md says of bad input is what the command says."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.private_names import digest
from lungdet.cli import main
from lungdet.io.image import write_image
from tests.apis.scans import BLOCK, GRID, SLICES
from tests.apis.test_inferencer import threshold
from tests.dicom_series import labelled, without, write_series, write_slice

__all__ = ['threshold']
PAGE = Path(__file__).parents[2] / 'docs' / 'infer.md'


def cut(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(-900, 60, GRID.shape)
    write_image(folder / 'cut.mha', noise.astype(np.int16), GRID)
    content = (folder / 'cut.mha').read_bytes()
    (folder / 'cut.mha').write_bytes(content[: len(content) // 2])


def empty(folder: Path) -> None:
    (folder / 'empty.nii.gz').touch()


def header(folder: Path, name: str, **fields: str) -> None:
    """A MetaImage header with some other fields."""
    usual = {
        'ObjectType': 'Image',
        'NDims': '3',
        'DimSize': '70 60 30',
        'ElementSpacing': '1 1 2',
        'Offset': '0 0 0',
        'TransformMatrix': '1 0 0 0 1 0 0 0 1',
        'ElementType': 'MET_SHORT',
        'ElementDataFile': f'{name}.raw',
    }
    lines = [f'{key} = {value}' for key, value in {**usual, **fields}.items()]
    (folder / f'{name}.mhd').write_text('\n'.join(lines) + '\n')
    (folder / f'{name}.raw').write_bytes(BLOCK.tobytes())


def elsewhere(folder: Path) -> None:
    header(folder, 'elsewhere', ElementDataFile='../secret.raw')


def flat(folder: Path) -> None:
    header(folder, 'flat', ElementSpacing='1 1 0')


def four_axes(folder: Path) -> None:
    image = nib.Nifti1Image(np.zeros((70, 60, 20, 2), np.int16), np.eye(4))
    nib.save(image, folder / 'series.nii')


def not_numbers(folder: Path) -> None:
    values = BLOCK.astype(np.float32)
    values[:10] = np.nan
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1, 1, 2))  # as thick as a chest
    sitk.WriteImage(image, str(folder / 'nan.nrrd'))


def no_offset(folder: Path) -> None:
    write_image(folder / 'from_zero.mha', BLOCK + 1024, GRID)


def series(folder: Path, uid: str, **options: object) -> Path:
    path = folder / uid
    path.mkdir()
    edit = labelled(StudyInstanceUID=uid, PatientID='A')
    write_series(path, SLICES, series=uid, edit=edit, **options)
    return path


def gap(folder: Path) -> None:
    for path in sorted(series(folder, '1.2.10').iterdir())[10:16]:
        path.unlink()


def two_patients(folder: Path) -> None:
    path = series(folder, '1.2.11')
    edit = labelled(StudyInstanceUID='1.2.11', PatientID='B')
    write_slice(path, 39, SLICES[0], series='1.2.11', edit=edit, z=-48)


def no_position(folder: Path) -> None:
    path = series(folder, '1.2.12')

    def edit(data: object) -> None:
        labelled(StudyInstanceUID='1.2.12', PatientID='A')(data)  # type: ignore[arg-type]
        without('ImagePositionPatient')(data)  # type: ignore[arg-type]

    write_slice(path, 3, SLICES[3], series='1.2.12', edit=edit)


def leaving(folder: Path) -> None:
    with zipfile.ZipFile(folder / 'leaving.zip', 'w') as archive:
        archive.writestr('../x.mha', b'x')


def bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / 'bomb.zip', 'w') as archive:
        archive.writestr('x.mha', bytes(1000))
    content = bytearray((folder / 'bomb.zip').read_bytes())
    size_field = content.index(b'PK\x01\x02') + 24  # of the directory
    struct.pack_into('<I', content, size_field, 50_000_000)
    (folder / 'bomb.zip').write_bytes(content)


def magnetic_resonance(folder: Path) -> None:
    path = folder / 'mr'
    path.mkdir()
    edit = labelled(Modality='MR', StudyInstanceUID='1.2.13')
    write_series(path, SLICES, series='1.2.13', edit=edit)


# the scans of the page's table, in its order
BAD_SCANS: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ('cut', cut),
    ('empty', empty),
    ('elsewhere', elsewhere),
    ('series', four_axes),
    ('flat', flat),
    ('nan', not_numbers),
    ('from_zero', no_offset),
    ('1.2.10', gap),
    ('1.2.11', two_patients),
    ('1.2.12', no_position),
    (f'zip-{digest("leaving.zip")}', leaving),
    (f'zip-{digest("bomb.zip")}', bomb),
)


def table() -> list[str]:
    """What the page says is printed, row by row."""
    section = PAGE.read_text(encoding='utf-8').split('## What bad input says')
    rows = section[1].split('\n## ')[0]
    return re.findall(r'^\| [^|]+ \| `(.*)` \|$', rows, re.MULTILINE)


def test_bad_input_says_what_the_page_says(
    threshold: NoduleInferencer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    write_image(folder / 'good.mha', BLOCK, GRID)
    for _, make in BAD_SCANS:
        make(folder)
    magnetic_resonance(folder)
    words = ['infer', str(folder), '--out', str(tmp_path / 'out')]
    words += ['--model', 'w.pth', '--formats', 'json', '--precision', 'fp32']

    assert main(words) == 3
    text = capsys.readouterr()
    words[1] = str(tmp_path / 'scan.mha')
    assert main(words) == 2
    absent = capsys.readouterr().err.strip()

    assert '] good: 1 detection' in text.out
    lines = text.err.splitlines()
    said = dict(
        re.fullmatch(r'lungdet: \[\d+/13\] (.*?): failed: (.*)', x).groups()  # type: ignore[union-attr]
        for x in lines
        if ': failed: ' in x
    )
    (left_out,) = [line for line in lines if 'left out' in line]
    assert [
        *(said[name] for name, _ in BAD_SCANS),
        left_out,
        absent.replace(f'{tmp_path}/', ''),
    ] == table()
    assert str(tmp_path) not in text.err
