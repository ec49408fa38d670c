from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.io.image import read_image
from lungdet.prepare import prepare_folder
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
