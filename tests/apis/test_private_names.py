"""Names of patients, planted wherever one can stand, stay out of what a run
prints and writes."""

from __future__ import annotations

import gzip
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileDataset

from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.private_names import PrivateNames, slice_name
from lungdet.cli import main
from lungdet.io.image import write_image
from tests.apis.scans import BLOCK, GRID, SLICES
from tests.apis.test_inferencer import threshold
from tests.dicom_series import write_slice

__all__ = ['threshold']
pytestmark = pytest.mark.skipif(
    os.name != 'posix', reason='a name has a character that Windows refuses'
)
JANE, ID = 'DOE^JANE', 'doe_jane_1970'


def named(data: FileDataset) -> None:
    """A name in each tag that may hold one, or a text."""
    for tag in (
        *('PatientName', 'OtherPatientNames', 'ReferringPhysicianName'),
        *('OperatorsName', 'PatientMotherBirthName', 'ResponsiblePerson'),
    ):
        setattr(data, tag, JANE)
    for tag in (
        *('PatientID', 'AccessionNumber', 'StudyID', 'StudyDescription'),
        *('SeriesDescription', 'ProtocolName', 'PatientComments'),
        *('ImageComments', 'InstitutionName', 'StationName'),
        *('DeviceSerialNumber', 'AdditionalPatientHistory'),
    ):
        setattr(data, tag, ID)
    data.StudyInstanceUID = data.SeriesInstanceUID
    data.private_block(0x11, JANE, create=True).add_new(1, 'LO', ID)


def series(folder: Path, uid: str, prefix: str = JANE) -> list[Path]:
    """The files of a series, from the feet up."""
    folder.mkdir(parents=True)
    return [
        write_slice(
            folder,
            k,
            plane,
            series=uid,
            edit=named,
            name=f'{prefix}_{k:03d}.dcm',
        )
        for k, plane in enumerate(SLICES)
    ]


def edited(path: Path, change: Callable[[FileDataset], None]) -> None:
    data = dcmread(path)
    change(data)
    data.save_as(path)


def without_position(data: FileDataset) -> None:
    del data.ImagePositionPatient


def cut_pixels(data: FileDataset) -> None:
    data.PixelData = data.PixelData[:100]


def of_another(data: FileDataset) -> None:
    data.PatientID = 'JOHN'


def thicker(data: FileDataset) -> None:
    data.PixelSpacing = [9, 9]


def magnetic(data: FileDataset) -> None:
    data.Modality = 'MR'


def write_dicom(root: Path) -> None:
    """Series that are whole, and with a defect of each kind."""
    series(root / 'whole' / JANE, '1.2.1')
    for uid, change in (
        ('1.2.2', without_position),
        ('1.2.3', cut_pixels),
        ('1.2.4', of_another),
        ('1.2.5', thicker),  # a caveat
    ):
        edited(series(root / uid / JANE / ID, uid)[3], change)
    for path in series(root / 'gap' / ID, '1.2.6', ID)[10:16]:
        path.unlink()
    copied = series(root / 'copied' / ID, '1.2.7', ID)
    (copied[3].parent / f'{ID}.dcm').write_bytes(copied[3].read_bytes())
    two = series(root / 'two' / ID, '1.2.8')
    edited(two[5], lambda data: setattr(data, 'PixelData', bytes(768)))
    edited(two[5], lambda data: setattr(data, 'SOPInstanceUID', '1.2.8.1'))
    edited(
        two[5],
        lambda data: setattr(data, 'ImagePositionPatient', [-10, 5, -92]),
    )
    cut = series(root / f'cut {JANE}', '1.2.9')[0]
    cut.write_bytes(cut.read_bytes()[:300])
    linked = series(root / 'linked' / JANE, '1.2.10')[0]
    (linked.parent / f'{ID}.dcm').symlink_to(linked.parent / JANE)
    for path in series(root / 'mr' / JANE, '1.2.11'):
        edited(path, magnetic)
    for half in (JANE, ID):  # one series in two folders
        (root / 'halves' / half).mkdir(parents=True)
    for k, plane in enumerate(SLICES):
        folder = root / 'halves' / (JANE, ID)[k % 2]
        path = write_slice(folder, k, plane, series='1.2.12', edit=named)
        edited(path, cut_pixels)
    (root / 'empty' / JANE).mkdir(parents=True)


def header(path: Path, data_file: str, **fields: str) -> None:
    usual = {
        'ObjectType': 'Image',
        'Comment': JANE,
        'PatientName': ID,
        'NDims': '3',
        'DimSize': '70 60 30',
        'ElementSpacing': '1 1 2',
        'Offset': '0 0 0',
        'ElementType': 'MET_SHORT',
    }
    lines = [f'{k} = {v}' for k, v in {**usual, **fields}.items()]
    path.write_text('\n'.join([*lines, f'ElementDataFile = {data_file}', '']))


def write_images(root: Path) -> None:
    """Image files in folders of patients, and names in their headers."""
    for folder in (JANE, ID):
        write_image(root / folder / 'ct.mha', BLOCK, GRID)
    folder = root / JANE
    (folder / f'{JANE}.raw').write_bytes(BLOCK.tobytes())
    header(folder / 'm1.mhd', f'{JANE}.raw')
    header(folder / 'm2.mhd', f'{ID}.raw')
    header(folder / 'm3.mhd', f'../{ID}/{JANE}.raw')
    header(folder / 'm4.mhd', f'{JANE}.raw', DimSize='70 60 31')
    header(folder / 'm5.mhd', f'{JANE}.raw', CompressedData='True')
    header(folder / 'm6.mhd', f'{JANE}%03d.raw 1 30 1')
    header(folder / 'm7.mhd', f'LIST {JANE}')
    image = nib.Nifti1Image(
        BLOCK.transpose(2, 1, 0), np.diag([-1, -1, 2, 1.0])
    )
    image.header['descrip'], image.header['aux_file'] = JANE, ID
    image.header['intent_name'], image.header['db_name'] = ID, JANE
    image.header.extensions.append(
        nib.nifti1.Nifti1Extension('comment', JANE.encode())
    )
    nib.save(image, folder / 'n1.nii.gz')
    content = (folder / 'n1.nii.gz').read_bytes()
    (folder / 'n2.nii.gz').write_bytes(content[: len(content) // 2])
    scan = sitk.GetImageFromArray(BLOCK)
    scan.SetSpacing((1.0, 1.0, 2.0))
    scan.SetMetaData(JANE, ID)
    scan.SetMetaData('NRRD_content', JANE)
    sitk.WriteImage(scan, str(folder / 'r1.nrrd'))
    text = (folder / 'r1.nrrd').read_bytes()
    magic, rest = text.split(b'\n', 1)
    for name, line in (
        ('r2', f'{JANE}: {ID}'),
        ('r3', f'data file: {JANE}.raw'),
        ('r4', f'# {JANE}'),
    ):
        (folder / f'{name}.nrrd').write_bytes(
            magic + f'\n{line}\n'.encode() + rest
        )


def packed(path: Path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members:
            archive.writestr(name, content)


def write_archives(root: Path, scratch: Path) -> None:
    """Archives of patients: whole, damaged, hostile, of damaged series."""
    whole = series(scratch / '1', '1.3.1')
    packed(
        root / f'{JANE}.zip',
        *((f'{JANE}/{ID}/{path.name}', path.read_bytes()) for path in whole),
    )
    lacking = series(scratch / '2', '1.3.2')
    edited(lacking[2], without_position)
    packed(
        root / 'lacking' / f'{JANE}.zip',
        *((f'{JANE}/{path.name}', path.read_bytes()) for path in lacking),
    )
    packed(
        root / 'cut' / f'{ID}.zip',
        *((f'{JANE}/{p.name}', p.read_bytes()[:300]) for p in whole),
    )
    (root / f'{ID}.zip').write_text(JANE)
    one = (f'{JANE}.dcm', b'content' * 9)
    packed(root / 'text' / f'{ID}.zip', (f'{JANE}.txt', b'-'))
    packed(root / 'out' / f'{ID}.zip', (f'../{JANE}.dcm', b'-'))
    packed(root / 'long' / f'{ID}.zip', (f'{JANE * 40}.dcm', b'-'))
    packed(root / 'file' / f'{ID}.zip', (JANE, b'-'), (f'{JANE}/{ID}', b'-'))
    packed(root / 'crc' / f'{ID}.zip', one)
    content = bytearray((root / 'crc' / f'{ID}.zip').read_bytes())
    content[content.find(b'content') + 3] ^= 1
    (root / 'crc' / f'{ID}.zip').write_bytes(content)
    packed(root / 'locked' / f'{ID}.zip', one)
    content = bytearray((root / 'locked' / f'{ID}.zip').read_bytes())
    struct.pack_into('<H', content, content.find(b'PK\x01\x02') + 8, 1)
    (root / 'locked' / f'{ID}.zip').write_bytes(content)
    with zipfile.ZipFile(root / 'twice.zip', 'w') as archive:
        archive.writestr(*one)
        with pytest.warns(UserWarning, match='Duplicate'):
            archive.writestr(*one)


def write_list(root: Path) -> Path:
    """Scans by name, with masks that are none."""
    write_image(root / ID / 'listed.mha', BLOCK, GRID)
    mask = np.where(BLOCK < -800, 3, 4).astype(np.uint8)
    write_image(root / ID / f'{ID}_mask.mha', mask * 7, GRID)
    write_image(root / ID / f'{JANE}.mha', mask * 0, GRID)
    (root / 'scans.csv').write_text(
        'path,seriesuid,lung_mask\n'
        f'{ID}/listed.mha,first,{ID}/{ID}_mask.mha\n'
        f'{ID}/listed.mha,second,{ID}/{JANE}.mha\n'
    )
    return root / 'scans.csv'


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and contents of all files, unpacked."""
    for path in folder.rglob('*'):
        where = str(path.relative_to(folder))
        yield where, where
        if path.is_dir():
            continue
        content = path.read_bytes()
        if path.suffix == '.gz':
            content = gzip.decompress(content)
        if path.suffix == '.png':
            with Image.open(path) as picture:
                content += repr(picture.info).encode()
        yield where, content.decode('latin-1')


def names_in(text: str, pattern: str = 'doe|jane') -> list[str]:
    return re.findall(pattern, text, re.IGNORECASE)


@pytest.mark.filterwarnings('ignore')
def test_planted_names_are_nowhere(
    threshold: NoduleInferencer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    for write in (write_dicom, write_images):
        write(tmp_path / 'in')
    write_archives(tmp_path / 'in' / 'packed', tmp_path / 'scratch')
    scans = write_list(tmp_path / 'list')
    words = ['infer', str(tmp_path / 'in'), str(scans), '--model', 'w.pth']
    words += ['--precision', 'fp32', '--verbose', '--formats']
    words += [
        'json,luna16,nifti,picture,html,nndetection,monai,coco,slicer,'
        'grand_challenge'
    ]
    out = tmp_path / 'out'
    report = out / 'report.json'
    capfd.readouterr()

    assert main([*words, '--out', str(out), '--report', str(report)]) == 3
    first = capfd.readouterr()
    assert main([*words, '--out', str(out), '--report', str(report)]) == 3
    again = capfd.readouterr()
    merged = ['merge', str(out), '--out', str(out / 'all'), '--allow-missing']
    assert main(merged) == 0
    told = [*first, *again, *capfd.readouterr()]

    for text in told:
        lines = [line for line in text.splitlines() if names_in(line)]
        assert not lines
    for where, content in contents(out):
        # pictures in a page are long random words
        pattern = 'doe.{1,8}jane' if where.endswith('.html') else 'doe|jane'
        assert not names_in(content, pattern), where
    # each kind was met
    for text in (
        '1.2.2/file-',
        '1.2.3/file-',
        'holds slices of 2 patients',
        'left out: file-',
        '6 slices missing',
        '1 duplicate slice left out: file-',
        'two different images',
        '] folder-',
        'no such file',
        'a folder: no CT series (26 files: 26 MR objects)',
        'm2: the file that ElementDataFile names',
        'm3: ElementDataFile must be',
        'm4: 252000 bytes',
        'm5: compressed data is damaged',
        'm6: ElementDataFile is LOCAL',
        'n2: ',
        'r2: line 2 is not a field',
        'r3: the voxels are in another file',
        'not a zip archive',
        'an archive: no scan in it',
        'member 1 of 1 leaves',
        'member 1 of 1 cannot be unpacked (file name too long)',
        'is both a file and a folder',
        'is damaged',
        'is encrypted',
        'occurs twice',
        'the lung mask: holds the labels',
        'the lung mask holds no lung',
    ):
        assert text in first.err, text
    done = {path.parent.name for path in out.glob('*/inference.json')}
    assert {'1.2.1', '1.2.5', '1.2.7', '1.3.1', 'm1', 'n1', 'r1'} < done
    assert '1 detection' in first.out


def test_they_are_there_if_they_are_kept(
    threshold: NoduleInferencer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    write_dicom(tmp_path / 'in')
    words = ['infer', str(tmp_path / 'in'), '--model', 'w.pth', '--keep-phi']
    words += ['--precision', 'fp32', '--formats', 'json']

    assert main([*words, '--out', str(tmp_path / 'out')]) == 3

    lines = capfd.readouterr().err.splitlines()
    (line,) = [line for line in lines if 'ImagePositionPatient' in line]
    assert f'1.2.2/{JANE}/{ID}/{JANE}_003.dcm' in line


@pytest.mark.parametrize(
    'name',
    [
        *('074.dcm', '00000123.dcm', 'IM-0001-0074.dcm', 'I10', 'image_7'),
        *('1.3.6.1.4.1.14519.5.2.1.dcm', 'CT.1.2.840.113619.2.55.3'),
        *('slice 12.ima', 'Series1-Image2.DCM'),
    ],
)
def test_names_that_scanners_give_are_kept(name: str) -> None:
    assert slice_name(name) == name


@pytest.mark.parametrize(
    'name',
    [
        *('DOE.dcm', 'DOE0001', 'im_doe_1.dcm', 'Jane 3.ima', 'ÄNNE-1.dcm'),
        *('12345678_001.dcm', '19700131.dcm', 'a1b2c3.dcm', '김 1.dcm'),
    ],
)
def test_others_are_digests(name: str) -> None:
    assert slice_name(name).startswith('file-')
    assert slice_name(name) != slice_name(f'{name}0')


def test_a_name_that_begins_like_another_is_whole(tmp_path: Path) -> None:
    for folder in ('in/A', 'in/A-B', 'in/A/C D'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'in/A/C D/DOE J.dcm').touch()
    names = PrivateNames('1.2', tmp_path / 'in/A', tmp_path / 'in/A-B')

    text = names.hidden(
        f'{tmp_path}/in/A/C D/DOE J.dcm, {tmp_path}/in/A-B/x, DOE J.dcm, '
        f'{tmp_path}/in/A: A DOE'
    )

    name = slice_name('DOE J.dcm')
    assert text == f'1.2/{name}, 1.2/x, {name}, 1.2: A DOE'
