from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from nibabel import Nifti1Header, Nifti2Header

from lungdet.errors import SeriesError
from lungdet.io.nifti_header import first_byte, layout, read_header

PATH = Path('x.nii')


def stated(
    kind: type = Nifti1Header, endianness: str = '<', **values
) -> bytes:
    header = kind(endianness=endianness)
    header.set_data_dtype(np.int16)
    header.set_data_shape((7, 6, 5))
    header['pixdim'][1:4] = 0.7, 0.8, 2.5
    header['magic'] = header.single_magic
    header['vox_offset'] = header.single_vox_offset
    for name, value in values.items():
        header[name] = value
    return header.binaryblock


@pytest.mark.parametrize('kind', [Nifti1Header, Nifti2Header])
@pytest.mark.parametrize('endianness', ['<', '>'])
def test_both_versions_and_byte_orders_say_the_same(
    kind: type, endianness: str
) -> None:
    file = BytesIO(stated(kind, endianness) + b'voxels')

    header = read_header(PATH, file)

    dtype, sizes = layout(PATH, header)
    assert sizes == [7, 6, 5] and dtype.newbyteorder('=') == np.int16
    assert first_byte(PATH, header) == header.single_vox_offset
    assert file.read() == b'voxels'


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'magic': b'ni1'}, 'pair'),
        ({'magic': b'abc'}, 'the header is damaged'),
    ],
)
def test_what_is_no_single_file_is_refused(values: dict, reason: str) -> None:
    with pytest.raises(SeriesError, match=f'x.nii: .*{reason}'):
        read_header(PATH, BytesIO(stated(**values)))


@pytest.mark.parametrize('ends', [b'\n\n\x1a\n', b'\r\n\x1a\x0b'])
def test_a_file_that_was_copied_as_text_is_refused(ends: bytes) -> None:
    content = stated(Nifti2Header, eol_check=np.frombuffer(ends, np.int8))

    with pytest.raises(SeriesError, match='x.nii: .*copied as text'):
        read_header(PATH, BytesIO(content))


def test_a_writer_may_leave_the_line_ends_out() -> None:
    header = read_header(PATH, BytesIO(stated(Nifti2Header, eol_check=0)))

    assert layout(PATH, header)[1] == [7, 6, 5]


def test_no_header_and_a_cut_one_are_told_apart() -> None:
    with pytest.raises(SeriesError, match='no NIfTI header'):
        read_header(PATH, BytesIO(bytes(400)))
    with pytest.raises(EOFError):
        read_header(PATH, BytesIO(stated()[:300]))


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'bitpix': 8}, 'of 8 bits is not supported'),
        ({'datatype': 128, 'bitpix': 24}, 'is not supported'),
        ({'dim': [8, 7, 6, 5, 1, 1, 1, 1]}, 'a number of axes from 1 to 7'),
        ({'dim': [4, 7, 6, 5, 3, 1, 1, 1]}, 'expected one 3D channel'),
        ({'dim': [3, 7, 0, 5, 1, 1, 1, 1]}, 'an axis without voxels'),
    ],
)
def test_voxels_that_are_no_image_are_refused(
    values: dict, reason: str
) -> None:
    header = read_header(PATH, BytesIO(stated(**values)))

    with pytest.raises(SeriesError, match=reason):
        layout(PATH, header)


@pytest.mark.parametrize('start', [0, 351, 352.5, 1e9, np.nan])
def test_voxels_begin_behind_the_header(start: float) -> None:
    header = read_header(PATH, BytesIO(stated(vox_offset=start)))

    with pytest.raises(SeriesError):
        first_byte(PATH, header)
