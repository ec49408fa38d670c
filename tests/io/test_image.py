from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image, write_image

SHAPE = (16, 17, 18)
FIELDS = {
    'ObjectType': 'Image',
    'NDims': '3',
    'BinaryData': 'True',
    'BinaryDataByteOrderMSB': 'False',
    'CompressedData': 'False',
    'TransformMatrix': '1 0 0 0 1 0 0 0 1',
    'Offset': '-10 20 -30',
    'ElementSpacing': '3.5 4 5',
    'DimSize': '18 17 16',
    'ElementType': 'MET_SHORT',
    'ElementDataFile': 'x.raw',
}


def hu(rng: np.random.Generator) -> np.ndarray:
    array = rng.integers(-1000, 400, SHAPE).astype(np.int16)
    array[0] = -1000
    return array


def write_meta(folder: Path, payload: bytes, **changes: str | None) -> Path:
    fields = {**FIELDS, **changes}
    lines = [f'{k} = {v}' for k, v in fields.items() if v is not None]
    lines.sort(key=lambda line: line.startswith('ElementDataFile'))
    path = folder / 'x.mhd'
    path.write_text('\n'.join(lines) + '\n')
    (folder / 'x.raw').write_bytes(payload)
    return path


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


def test_a_link_out_of_the_folder_is_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    folder = tmp_path / 'scan'
    folder.mkdir()
    path = write_meta(folder, hu(rng).tobytes())
    (folder / 'x.raw').rename(tmp_path / 'secret')
    os.symlink(tmp_path / 'secret', folder / 'x.raw')

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

        found, _ = read_image(path)

        wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(found, array)


TURNS = {
    'identity': np.eye(3),
    'prone': np.diag([-1.0, -1, 1]),
    'rotated': np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0.0]]),
    'oblique': np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize('turn', TURNS)
@pytest.mark.parametrize('suffix', ['.mhd', '.mha', '.nii.gz', '.nrrd'])
def test_every_voxel_keeps_its_world_place_and_value(
    tmp_path: Path, rng: np.random.Generator, turn: str, suffix: str
) -> None:
    geometry = Geometry.from_parts(
        SHAPE,
        spacing_zyx=(5, 4, 3.5),
        origin_xyz=(-10, 20, -30),
        direction=TURNS[turn],
    )
    path = tmp_path / f'scan{suffix}'
    write_image(path, hu(rng), geometry)

    volume = load_volume(path)

    image = sitk.ReadImage(str(path))
    for index in np.argwhere(np.ones(volume.array.shape))[::7]:
        world = volume.geometry.to_world(index[None])[0]
        there = image.TransformPhysicalPointToIndex(world.tolist())
        assert image[there] == volume.array[tuple(index)]
    if turn != 'oblique':
        np.testing.assert_allclose(
            volume.geometry.direction, np.eye(3), atol=1e-5
        )
    assert volume.series_uid == 'scan'


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz', '.nrrd'])
def test_cut_files_are_refused(
    tmp_path: Path, rng: np.random.Generator, suffix: str
) -> None:
    path = tmp_path / f'scan{suffix}'
    array = rng.integers(-1000, 400, (20, 21, 22)).astype(np.int16)
    geometry = Geometry.from_parts(
        array.shape, spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    write_image(path, array, geometry)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])

    with pytest.raises(SeriesError, match='cut|cannot be read'):
        read_image(path)


@pytest.mark.parametrize('kind', [np.int64, np.uint64])
def test_labels_of_64_bits_are_read(
    tmp_path: Path, rng: np.random.Generator, kind: type
) -> None:
    """numpy's default, as nibabel writes it."""
    labels = rng.integers(0, 4, (9, 10, 11)).astype(kind)
    image = nibabel.Nifti1Image(labels.T, np.eye(4), dtype=kind)
    nibabel.save(image, tmp_path / 'x.nii.gz')

    array, _ = read_image(tmp_path / 'x.nii.gz')

    np.testing.assert_array_equal(array, labels)


def test_values_without_their_offset_are_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write_meta(tmp_path, (hu(rng) + 1024).tobytes())

    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(path)

    assert load_volume(path, hu_offset=-1024).array.min() == -1000


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_volume(tmp_path / 'nothing.mhd')
    (tmp_path / 'x.jpg').write_bytes(b'1')
    with pytest.raises(SeriesError, match='unknown image type'):
        load_volume(tmp_path / 'x.jpg')
    (tmp_path / 'x.nii').write_bytes(b'')
    with pytest.raises(SeriesError, match='empty'):
        load_volume(tmp_path / 'x.nii')


@pytest.mark.slow
def test_real_scans_agree_with_simpleitk(test_data: Path) -> None:
    for path in sorted((test_data / 'luna16-mini').glob('subset?/*.mhd')):
        volume = load_volume(path)
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(
            volume.array, sitk.GetArrayViewFromImage(image)
        )
        np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin())


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
    caveats: list[str] = []

    array, geometry = read_image(path, caveats=caveats)

    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(geometry.spacing[::-1], image.GetSpacing())
    np.testing.assert_allclose(geometry.origin, image.GetOrigin())
    np.testing.assert_allclose(
        geometry.direction.ravel(), image.GetDirection(), atol=1e-12
    )
    assert text in ' '.join(caveats)
    assert bool(caveats) == bool(text)


@pytest.mark.parametrize(
    ('extra', 'skip'), [(b'', '-1'), (b'head', '4'), (b'head', '-1')]
)
def test_bytes_before_the_voxels_are_skipped(
    tmp_path: Path, rng: np.random.Generator, extra: bytes, skip: str
) -> None:
    array = hu(rng)
    path = write_meta(tmp_path, extra + array.tobytes(), HeaderSize=skip)

    found, _ = read_image(path)

    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(
        found, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
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

    np.testing.assert_array_equal(read_image(path)[0], array)


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

    np.testing.assert_array_equal(read_image(path)[0], array)


@pytest.mark.parametrize('key', ['DimSize', 'ElementSpacing'])
def test_field_that_stands_twice_is_refused(
    tmp_path: Path, rng: np.random.Generator, key: str
) -> None:
    path = write_meta(tmp_path, hu(rng).tobytes())
    path.write_text(f'{key} = 1 1 1\n' + path.read_text())

    with pytest.raises(SeriesError, match=f'{key} stands twice'):
        read_image(path)


def test_windows_line_ends_names_and_later_fields(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    array = hu(rng)
    path = write_meta(tmp_path, array.tobytes(), ElementDataFile='Größe 1.raw')
    (tmp_path / 'x.raw').rename(tmp_path / 'Größe 1.raw')
    lines = path.read_text() + 'ElementSpacing = 9 9 9\n'
    path.write_bytes(lines.replace('\n', '\r\n').encode())

    found, geometry = read_image(path)

    np.testing.assert_array_equal(found, array)
    np.testing.assert_allclose(geometry.spacing, (5, 4, 3.5))


def test_other_bytes_under_a_type_do_not_pass_for_hu(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    shorts = (hu(rng) + 1024).tobytes()
    path = write_meta(tmp_path, shorts, ElementType='MET_USHORT')
    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(path)
    wide = np.ones(SHAPE, np.int32).tobytes()
    path = write_meta(tmp_path, wide, ElementType='MET_FLOAT')
    assert any('like a chest' in w for w in load_volume(path).caveats)


@pytest.mark.parametrize(
    ('bad', 'share', 'reason'),
    [
        (np.nan, 0.01, 'were not numbers'),
        (np.inf, 0.01, 'were not numbers'),
        (9e5, 0.01, 'exceed 16 bits'),
        (np.nan, 0.0005, 'were not numbers and became -1024'),
        (-np.inf, 0.0005, 'were not numbers and became -1024'),
        (-9e5, 0.0005, 'exceed 16 bits and became'),
    ],
)
@pytest.mark.parametrize('suffix', ['.mhd', '.nii', '.nii.gz', '.nrrd'])
def test_values_that_are_no_hu(
    tmp_path: Path,
    rng: np.random.Generator,
    suffix: str,
    bad: float,
    share: float,
    reason: str,
) -> None:
    array = hu(rng).astype(np.float64) + 0.4
    count = round(share * array.size)
    array.ravel()[-count:] = bad
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(5, 4, 3.5), origin_xyz=(-10, 20, -30)
    )
    path = tmp_path / f'x{suffix}'
    write_image(path, array, grid)

    if share > 0.001:
        with pytest.raises(SeriesError, match=reason):
            load_volume(path)
        return
    volume = load_volume(path)

    assert any(f'{count} voxels {reason}' in w for w in volume.caveats)
    np.testing.assert_array_equal(volume.array, literal_hu(array))


def literal_hu(array: np.ndarray) -> np.ndarray:
    """The literal rule: nearest whole number, -1024 for no number."""
    literal = [
        max(-32768, min(32767, round(v))) if np.isfinite(v) else -1024
        for v in array.ravel().tolist()
    ]
    return np.array(literal, dtype=np.int16).reshape(array.shape)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('kind', ['f4', 'f8'])
@pytest.mark.parametrize('packed', [False, True])
def test_places_without_numbers_stay_so_in_nifti(
    tmp_path: Path,
    rng: np.random.Generator,
    order: str,
    kind: str,
    packed: bool,
) -> None:
    """In both orders of bytes, and behind a header that is longer."""
    shape = (8, 400, 401)  # over 4 MB, the piece that is read at once
    array = rng.integers(-1000, 400, shape).astype(kind)
    array[0, 1, 2], array[7, 399, 400], array[7, 3, 5] = np.nan, np.inf, np.nan
    header = nibabel.Nifti1Header(endianness=order)
    header.extensions.append(
        nibabel.nifti1.Nifti1Extension('comment', b'more')
    )
    image = nibabel.Nifti1Image(array.T, np.diag([-1, -1, 1, 1]), header)
    image.set_data_dtype(kind)
    path = tmp_path / f'x.nii{".gz" if packed else ""}'
    nibabel.save(image, path)
    if not packed:  # bytes behind the image are none of its values
        path.write_bytes(path.read_bytes() + bytes([255]) * 64)

    found, _ = read_image(path)

    np.testing.assert_array_equal(
        found, np.where(np.isfinite(array), array, np.nan)
    )


def test_offset_is_added_only_where_it_is_lacking(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    array = hu(rng)
    array[0, 0] = -2000  # padding says nothing about the rest
    path = write_meta(tmp_path, array.tobytes())

    volume = load_volume(path, hu_offset=-1024)

    np.testing.assert_array_equal(volume.array, array)
    assert any('are HU already' in text for text in volume.caveats)
    stored = np.where(array == -2000, -2000, array + 1024).astype(np.int16)
    path = write_meta(tmp_path, stored.tobytes())
    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(path)
    shifted = load_volume(path, hu_offset=-1024).array
    np.testing.assert_array_equal(shifted[1:], array[1:])


def test_wide_floats_take_little_memory(tmp_path: Path) -> None:
    shape = (64, 256, 256)
    array = np.full(shape, -900.0)
    path = write_meta(
        tmp_path,
        array.tobytes(),
        ElementType='MET_DOUBLE',
        DimSize='256 256 64',
        ElementSpacing='1 1 1',
    )
    del array

    tracemalloc.start()
    load_volume(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # 8 bytes as stored, 2 as HU, and a few planes
    assert peak / np.prod(shape) < 11


@pytest.mark.parametrize(
    ('shape', 'spacing', 'reason'),
    [
        ((1, 1, 1), (10, 10, 10), '1 voxels along z'),
        ((7, 16, 16), (10, 4, 4), '7 voxels along z'),
        ((8, 15, 16), (10, 4, 4), '15 voxels along y'),
        ((8, 16, 2049), (10, 4, 0.5), '2049 voxels along x'),
        ((8, 16, 16), (10, 4, 15), 'spacing x 15 mm'),
        ((1000, 16, 16), (0.06, 4, 4), 'spacing z 0.06 mm'),
        ((8, 16, 16), (6, 4, 4), 'extent z 48 mm'),
    ],
)
def test_grids_that_hold_no_chest_are_refused(
    tmp_path: Path, shape: tuple, spacing: tuple, reason: str
) -> None:
    geometry = Geometry.from_parts(
        shape, spacing_zyx=spacing, origin_xyz=(0, 0, 0)
    )
    write_image(tmp_path / 'a.mhd', np.full(shape, -900, np.int16), geometry)

    with pytest.raises(SeriesError, match=reason):
        load_volume(tmp_path / 'a.mhd')


KINDS = ['i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4', 'f8']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz', '.nrrd', '.mha'])
def test_values_of_every_kind_agree_with_simpleitk(
    tmp_path: Path, rng: np.random.Generator, kind: str, suffix: str
) -> None:
    array = rng.integers(0, 100, SHAPE).astype(kind)
    path = tmp_path / f'a{suffix}'
    geometry = Geometry.from_parts(
        SHAPE, spacing_zyx=(5, 4, 3.5), origin_xyz=(1, 2, 3)
    )
    write_image(path, array, geometry)

    found, grid = read_image(path)

    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert grid.is_close(geometry)


NRRD = {
    'type': 'short',
    'dimension': '3',
    'space': 'left-posterior-superior',
    'sizes': '18 17 16',
    'space directions': '(3.5,0,0) (0,4,0) (0,0,5)',
    'space origin': '(-10,20,-30)',
    'endian': 'little',
    'encoding': 'raw',
}


def write_nrrd(folder: Path, payload: bytes, **changes: str | None) -> Path:
    named = {k.replace('_', ' '): v for k, v in changes.items()}
    lines = ['NRRD0004', '# a comment', 'name:=a: value']
    lines += [f'{k}: {v}' for k, v in {**NRRD, **named}.items() if v]
    path = folder / 'x.nrrd'
    path.write_bytes('\n'.join(lines).encode() + b'\n\n' + payload)
    return path


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'data_file': '../secret.raw'}, 'voxels are in another file'),
        ({'datafile': '/etc/passwd'}, 'voxels are in another file'),
        ({'data_file': 'LIST'}, 'voxels are in another file'),
        ({'space_directions': None}, 'spacings is'),
        (
            {'space_directions': None, 'spacings': 'nan 4 5'},
            "spacings is 'nan 4 5'",
        ),
        ({'space_directions': '(nan,0,0) (0,4,0) (0,0,5)'}, 'directions is'),
        ({'space_directions': '(0,0,0) (0,4,0) (0,0,5)'}, 'spacing 0 mm'),
        ({'space_directions': 'none (3,0,0) (0,4,0) (0,0,5)'}, 'directions'),
        ({'space_directions': '(3,2,0) (0,4,0) (0,0,5)'}, 'not orthonormal'),
        ({'sizes': '100000 100000 100000'}, 'image claims'),
        ({'sizes': '18 17 17'}, '9792 bytes of voxels, .* promises 10404'),
        ({'sizes': 'a b c'}, "sizes is 'a b c'"),
        ({'type': 'block'}, "NRRD type 'block'"),
        ({'Sizes': '18 17 16'}, 'sizes stands twice'),
    ],
)
def test_defective_nrrd_headers_are_refused(
    tmp_path: Path, rng: np.random.Generator, changes: dict, reason: str
) -> None:
    folder = tmp_path / 'scan'
    folder.mkdir()
    array = hu(rng)
    (tmp_path / 'secret.raw').write_bytes(array.tobytes())
    path = write_nrrd(folder, array.tobytes(), **changes)

    with pytest.raises(SeriesError, match=reason) as caught:
        load_volume(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({}, None),
        (
            {
                'space': None,
                'space_directions': None,
                'space_origin': None,
                'spacings': '3.5 4 5',
            },
            'no patient space',
        ),
        ({'space': 'scanner-xyz'}, "space is 'scanner-xyz'"),
        ({'space_origin': None}, 'no space origin'),
    ],
)
def test_nrrd_without_a_place_says_so(
    tmp_path: Path, rng: np.random.Generator, changes: dict, text: str | None
) -> None:
    array = hu(rng)

    volume = load_volume(write_nrrd(tmp_path, array.tobytes(), **changes))

    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.geometry.spacing, (5, 4, 3.5))
    assert (text or '') in ' '.join(volume.caveats)
    assert bool(volume.caveats) == (text is not None)


@pytest.mark.parametrize(
    ('place', 'form', 'value', 'reason'),
    [
        (108, '<f', np.nan, 'vox_offset is nan'),
        (108, '<f', np.inf, 'vox_offset is inf'),
        (108, '<f', -1.0, 'vox_offset is -1'),
        (70, '<h', 32, 'datatype 32'),
        (80, '<f', np.nan, 'spacing nan mm'),
    ],
)
def test_defective_nifti_headers_are_refused(
    tmp_path: Path,
    rng: np.random.Generator,
    place: int,
    form: str,
    value: float,
    reason: str,
) -> None:
    path = tmp_path / 'x.nii'
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(5, 4, 3.5), origin_xyz=(0, 0, 0)
    )
    write_image(path, hu(rng), grid)
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, place, value)
    path.write_bytes(content)

    with pytest.raises(SeriesError, match=reason):
        load_volume(path)


def test_nifti_without_orientation_says_so(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / 'x.nii'
    grid = Geometry.from_parts(
        SHAPE, spacing_zyx=(5, 4, 3.5), origin_xyz=(7, 8, 9)
    )
    write_image(path, hu(rng), grid)
    assert load_volume(path).caveats == []
    content = bytearray(path.read_bytes())
    struct.pack_into('<2h', content, 252, 0, 0)
    path.write_bytes(content)

    volume = load_volume(path)

    assert any('no orientation' in text for text in volume.caveats)
    np.testing.assert_allclose(volume.geometry.origin, 0)
