from __future__ import annotations

import gzip
import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.io.image import read_image
from tests.io.images import SHAPE, hu, write_meta


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'ElementDataFile': '../x.raw'}, "header's folder"),
        ({'ElementDataFile': '/etc/passwd'}, "header's folder"),
        ({'ElementDataFile': 'LIST'}, 'not supported'),
        ({'ElementDataFile': 'x%03d.raw'}, 'not supported'),
        ({'ElementDataFile': 'missing.raw'}, 'not a regular file'),
        ({'DimSize': '18 17 17'}, '9792 bytes of voxels, .* promises 10404'),
        ({'DimSize': '18 17 15'}, 'promises 9180'),
        ({'DimSize': '100000 100000 100000'}, 'image claims'),
        ({'DimSize': '6 5 -4'}, 'axis without voxels'),
        ({'DimSize': '6 5 0'}, 'axis without voxels'),
        ({'DimSize': '6 5'}, 'not 3 whole numbers'),
        ({'ElementSpacing': '0 1 1'}, 'spacing 0 mm is outside'),
        ({'ElementSpacing': '0,5 1 1'}, 'not 3 numbers'),
        ({'ElementSpacing': 'nan 1 1'}, 'not 3 numbers'),
        ({'ElementSpacing': '-1 1 1'}, 'outside'),
        ({'ElementSpacing': '1e6 1 1'}, 'outside'),
        ({'ElementSpacing': None}, 'ElementSpacing is missing'),
        ({'Offset': 'nan 0 0'}, 'not 3 numbers'),
        ({'TransformMatrix': '0 0 0 0 0 0 0 0 0'}, 'not orthonormal'),
        ({'TransformMatrix': '1 0.2 0 0 1 0 0 0 1'}, 'not orthonormal'),
        ({'NDims': '4', 'DimSize': '6 5 4 2'}, 'NDims is 4 .*6 5 4 2'),
        ({'NDims': '4', 'DimSize': None}, 'NDims is 4 .*absent'),
        ({'ElementNumberOfChannels': '3'}, 'Channels is 3'),
        ({'ElementToIntensityFunctionSlope': '2'}, 'Slope is 2'),
        ({'ElementType': 'MET_LONG_LONG'}, 'is not one of'),
        ({'CompressedData': 'True'}, 'damaged'),
        ({'DimSize': '18.9 17 16'}, 'not 3 whole numbers'),
        ({'NDims': '3', 'DimSize': '18 17 16 1'}, 'not 3 whole numbers'),
        ({'HeaderSize': 'abc'}, 'HeaderSize = .abc. is not a whole number'),
        ({'HeaderSize': '-2'}, 'HeaderSize is -2'),
        ({'HeaderSize': '8'}, '9784 bytes of voxels'),
        (
            {'ElementToIntensityFunctionSlope': 'abc'},
            'Slope = .abc. is not a number',
        ),
        ({'ElementToIntensityFunctionOffset': '-1024'}, 'Offset is -1024'),
        ({'BinaryDataByteOrderMSB': '1'}, 'is not True or False'),
        ({'BinaryDataByteOrderMSB': 'T'}, 'is not True or False'),
        ({'BinaryData': 'False'}, 'BinaryData is False'),
        ({'Position': '-10 20 30'}, 'Offset is .* and Position'),
        ({'Rotation': '1 0 0 0 0 1 0 1 0'}, 'TransformMatrix is .* Rotation'),
        ({'Offset': '1e308 0 0'}, 'origin .* is farther'),
        ({'Offset': '1_0 0 0'}, 'not 3 numbers'),
        ({'DimSize': '1_8 17 16'}, 'not 3 whole numbers'),
        ({'DimSize': '١٨ 17 16'}, 'not 3 whole numbers'),
        ({'DistanceUnits': 'um'}, 'DistanceUnits is um'),
        ({'ElementDataFile': 'x.raw\0'}, "header's folder"),
        (
            {'Offset': None, 'Ofset': '1 2 3'},
            'not a field, and Offset',
        ),
        ({'TransformMatrix': '1 0 0 0 1 0.1 0 0 1'}, 'y and z are at 84'),
    ],
)
def test_defective_meta_headers_are_refused(
    tmp_path: Path, rng: np.random.Generator, changes: dict, message: str
) -> None:
    path = write_meta(tmp_path, hu(rng).tobytes(), **changes)

    with pytest.raises(SeriesError, match=message) as caught:
        read_image(path)

    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda b: b[:-9], 'damaged|less'),
        (lambda b: zlib.compress(b'\0' * 200), 'less than'),
        (lambda b: zlib.compress(b'\0' * 20_000_000), 'more than'),
        (
            lambda b: b[:40] + bytes([b[40] ^ 255]) + b[41:],
            'damaged|less|more',
        ),
    ],
)
def test_defective_zraw_is_refused(
    tmp_path: Path, rng: np.random.Generator, change: object, message: str
) -> None:
    payload = change(zlib.compress(hu(rng).tobytes()))
    path = write_meta(tmp_path, payload, CompressedData='True')

    with pytest.raises(SeriesError, match=message):
        read_image(path)


def test_links_in_the_folder_are_followed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Data managers keep files elsewhere, under other names."""
    folder, cache = tmp_path / 'scan', tmp_path / 'cache'
    folder.mkdir()
    cache.mkdir()
    array = hu(rng)
    path = write_meta(folder, array.tobytes())
    for name, blob in (('x.raw', '0a'), ('x.mhd', '1b')):
        (folder / name).rename(cache / blob)
        os.symlink(cache / blob, folder / name)

    np.testing.assert_array_equal(read_image(path).array, array)

    (cache / '0a').unlink()
    with pytest.raises(SeriesError, match='not a regular file'):
        read_image(path)


def test_voxels_that_the_file_cannot_hold_take_no_memory(
    tmp_path: Path,
) -> None:
    path = write_meta(
        tmp_path,
        zlib.compress(b''),
        DimSize='1000 1000 1400',
        ElementSpacing='1 1 1',
        CompressedData='True',
    )

    tracemalloc.start()
    with pytest.raises(SeriesError, match='cannot hold'):
        read_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10_000_000


def test_bytes_behind_compressed_voxels_are_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    payload = zlib.compress(hu(rng).tobytes()) + b'more'
    path = write_meta(tmp_path, payload, CompressedData='True')

    with pytest.raises(SeriesError, match='more bytes follow'):
        read_image(path)


def test_rounded_directions_are_repaired(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write_meta(
        tmp_path,
        hu(rng).tobytes(),
        TransformMatrix='0.999 0.001 0 0 1 0.001 0 0 1',
    )

    image = read_image(path)

    cosines = image.geometry.direction
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(cosines, np.eye(3), atol=2e-3)
    assert any('nearest orthonormal' in text for text in image.caveats)


def test_a_pipe_is_no_file_of_voxels(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write_meta(tmp_path, hu(rng).tobytes())
    (tmp_path / 'x.raw').unlink()
    os.mkfifo(tmp_path / 'x.raw')

    with pytest.raises(SeriesError, match='not a regular file'):
        read_image(path)


@pytest.mark.parametrize(
    'kind', ['i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4', 'f8']
)
@pytest.mark.parametrize('msb', [False, True])
def test_meta_values_agree_with_simpleitk(
    tmp_path: Path, rng: np.random.Generator, kind: str, msb: bool
) -> None:
    names = {
        'i1': 'MET_CHAR',
        'u1': 'MET_UCHAR',
        'i2': 'MET_SHORT',
        'u2': 'MET_USHORT',
        'i4': 'MET_INT',
        'u4': 'MET_UINT',
        'f4': 'MET_FLOAT',
        'f8': 'MET_DOUBLE',
    }
    array = rng.integers(0, 100, SHAPE).astype(kind)
    stored = array.astype(array.dtype.newbyteorder('>' if msb else '<'))
    for packed in (False, True):
        payload = stored.tobytes()
        path = write_meta(
            tmp_path,
            zlib.compress(payload) if packed else payload,
            ElementType=names[kind],
            BinaryDataByteOrderMSB=str(msb),
            CompressedData=str(packed),
            CompressedDataSize=None,
        )

        values = read_image(path).array

        wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.testing.assert_array_equal(values, wanted)
        np.testing.assert_array_equal(values, array)


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'ElementSpacing': None, 'ElementSize': '3.5 4 5'}, ''),
        ({'ElementSize': '9 9 9'}, ''),
        ({'Offset': None, 'Position': '-10 20 -30'}, ''),
        ({'Offset': None, 'Origin': '-10 20 -30'}, ''),
        ({'TransformMatrix': None, 'Orientation': '-1 0 0 0 -1 0 0 0 1'}, ''),
        ({'TransformMatrix': None, 'Rotation': '-1 0 0 0 -1 0 0 0 1'}, ''),
        ({'TransformMatrix': None}, ''),
        ({'AnatomicalOrientation': 'RAI', 'CenterOfRotation': '9 9 9'}, ''),
        ({'Offset': None}, 'no Offset in the header'),
    ],
)
def test_fields_under_other_names_agree_with_simpleitk(
    tmp_path: Path, rng: np.random.Generator, changes: dict, text: str
) -> None:
    path = write_meta(tmp_path, hu(rng).tobytes(), **changes)

    image = read_image(path)

    wanted, grid = sitk.ReadImage(str(path)), image.geometry
    np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(wanted))
    np.testing.assert_allclose(grid.spacing_xyz, wanted.GetSpacing())
    np.testing.assert_allclose(grid.origin, wanted.GetOrigin())
    np.testing.assert_allclose(
        grid.direction.ravel(), wanted.GetDirection(), atol=1e-12
    )
    assert text in ' '.join(image.caveats)
    assert bool(image.caveats) == bool(text)


@pytest.mark.parametrize(
    ('extra', 'skip'), [(b'', '-1'), (b'head', '4'), (b'head', '-1')]
)
def test_bytes_before_the_voxels_are_skipped(
    tmp_path: Path, rng: np.random.Generator, extra: bytes, skip: str
) -> None:
    array = hu(rng)
    path = write_meta(tmp_path, extra + array.tobytes(), HeaderSize=skip)

    values = read_image(path).array

    np.testing.assert_array_equal(values, array)
    np.testing.assert_array_equal(
        values, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    )


def test_order_of_bytes_under_its_other_name(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    array = hu(rng)
    path = write_meta(
        tmp_path,
        array.astype('>i2').tobytes(),
        BinaryDataByteOrderMSB=None,
        ElementByteOrderMSB='True',
    )

    np.testing.assert_array_equal(read_image(path).array, array)


@pytest.mark.parametrize('wrap', [zlib.compress, gzip.compress])
@pytest.mark.parametrize('claimed', ['10', '100000000000', None])
def test_claimed_compressed_size_is_not_believed(
    tmp_path: Path, rng: np.random.Generator, wrap: object, claimed: str
) -> None:
    array = hu(rng)
    path = write_meta(
        tmp_path,
        wrap(array.tobytes()),
        CompressedData='True',
        CompressedDataSize=claimed,
    )

    np.testing.assert_array_equal(read_image(path).array, array)


@pytest.mark.parametrize(
    'key', ['DimSize', 'ElementSpacing', 'Offset', 'TransformMatrix']
)
def test_field_that_stands_twice_is_refused(
    tmp_path: Path, rng: np.random.Generator, key: str
) -> None:
    path = write_meta(tmp_path, hu(rng).tobytes())
    path.write_text(f'{key} = 1 1 1\n' + path.read_text())

    with pytest.raises(SeriesError, match=f'{key} appears twice'):
        read_image(path)


def test_text_without_a_data_file_is_refused_with_a_remedy(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'x.mhd'
    path.write_text('NDims = 3\n')

    with pytest.raises(SeriesError, match=r'not a whole MetaImage.*\. Copy'):
        read_image(path)


def test_windows_line_ends_names_and_later_fields(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    array = hu(rng)
    path = write_meta(tmp_path, array.tobytes(), ElementDataFile='Größe 1.raw')
    (tmp_path / 'x.raw').rename(tmp_path / 'Größe 1.raw')
    lines = path.read_text() + 'ElementSpacing = 9 9 9\n'
    path.write_bytes(lines.replace('\n', '\r\n').encode())

    image = read_image(path)

    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_allclose(image.geometry.spacing, (5, 4, 3.5))
