from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from lungdet.io.image import read_image
from lungdet.prepare import prepare_folder
from lungdet.prepare.fingerprint import fingerprint, fingerprint_of
from tests.dicom_series import write_slice
from tests.prepare.scans import air, write_folder, write_scan


@pytest.mark.parametrize('what', ['raw', 'slice', 'swapped'])
def test_changed_voxels_are_prepared_again(tmp_path: Path, what: str) -> None:
    root, out = tmp_path / 'scans', tmp_path / 'out'
    write_folder(root / 'x', '1.1')
    geometry = write_scan(root / 'a.mhd')
    array = read_image(root / 'a.mhd').array
    header = (root / 'a.mhd').read_text().replace('.zraw', '.raw')
    header = header.replace('CompressedData = True', 'CompressedData = False')
    (root / 'a.mhd').write_text(header)
    (root / 'a.raw').write_bytes(array.tobytes())
    (root / 'a.zraw').unlink()
    assert geometry.shape == array.shape
    assert not prepare_folder(root, out, progress=False).failed
    if what == 'raw':  # as long as before, the same head
        array[8:] += 7
        (root / 'a.raw').write_bytes(array.tobytes())
    elif what == 'slice':
        write_slice(
            root / 'x', 3, air()[3] + 7, name='1.1_3', series='1.1', z=30
        )
    else:
        names = [root / 'x' / f'1.1_{k}' for k in (2, 5)]
        contents = [path.read_bytes() for path in names]
        for path, content in zip(names, reversed(contents)):
            path.write_bytes(content)

    again = prepare_folder(root, out, progress=False)
    assert again.skipped == 1 and not again.failed
    assert prepare_folder(root, out, progress=False).skipped == 2


def write_results(folder: Path) -> None:
    """Files as `lungdet infer` writes them: texts, a SEG and an SR."""
    folder.mkdir()
    for name in ('inference.json', 'result.json', 'marks.csv'):
        (folder / name).write_text('{}')
    for name, kind in (('seg', '66.4'), ('sr', '88.34')):
        path = write_slice(folder, 0, air()[0], name=f'{name}.dcm')
        data = dcmread(path)
        data.SOPClassUID = f'1.2.840.10008.5.1.4.1.1.{kind}'
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.save_as(path)


def test_what_is_no_slice_of_a_folder_is_not_looked_at(
    tmp_path: Path,
) -> None:
    root, out = tmp_path / 'scans', tmp_path / 'out'
    write_folder(root / 'x', '1.1')
    slices = sorted((root / 'x').iterdir())
    before = fingerprint(root / 'x')
    prepare_folder(root, out, progress=False)

    (root / 'x' / '.DS_Store').write_bytes(b'Bud1')
    (root / 'x' / '._1.1_3').write_bytes(slices[3].read_bytes())
    (root / 'x' / '__MACOSX').mkdir()
    (root / 'x' / '__MACOSX' / '1.1_3').write_bytes(slices[3].read_bytes())
    write_results(root / 'x' / 'results')

    assert before == fingerprint(root / 'x') == fingerprint_of(slices)
    assert prepare_folder(root, out, progress=False).skipped == 1


def test_a_slice_that_comes_or_goes_is_noticed(tmp_path: Path) -> None:
    write_folder(tmp_path / 'x', '1.1')
    whole = fingerprint(tmp_path / 'x')

    path = write_slice(tmp_path / 'x', 8, air()[0], name='1.1_8', z=80)
    more = fingerprint(tmp_path / 'x')
    path.unlink()
    again = fingerprint(tmp_path / 'x')
    (tmp_path / 'x' / '1.1_7').unlink()

    assert len({whole, more, fingerprint(tmp_path / 'x')}) == 3
    assert again == whole
