from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image, write_image
from tests.io.images import SHAPE, hu


@pytest.mark.parametrize('kind', [np.int64, np.uint64])
def test_labels_of_64_bits_are_read(
    tmp_path: Path, rng: np.random.Generator, kind: type
) -> None:
    """numpy's default, as nibabel writes it."""
    labels = rng.integers(0, 4, (9, 10, 11)).astype(kind)
    image = nibabel.Nifti1Image(labels.T, np.eye(4), dtype=kind)
    nibabel.save(image, tmp_path / 'x.nii.gz')

    array = read_image(tmp_path / 'x.nii.gz').array

    np.testing.assert_array_equal(array, labels)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('kind', ['f4', 'f8'])
@pytest.mark.parametrize('packed', [False, True])
def test_values_that_are_no_numbers_are_kept(
    tmp_path: Path,
    rng: np.random.Generator,
    order: str,
    kind: str,
    packed: bool,
) -> None:
    """In both orders of bytes, and behind a header that is longer."""
    shape = (8, 400, 401)  # over 4 MiB, the piece that is read at once
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

    values = read_image(path).array

    np.testing.assert_array_equal(values, array)


@pytest.mark.parametrize(
    ('start', 'form', 'value', 'reason'),
    [
        (108, '<f', np.nan, 'vox_offset is nan'),
        (108, '<f', np.inf, 'vox_offset is inf'),
        (108, '<f', -1.0, 'vox_offset is -1'),
        (70, '<h', 32, 'datatype 32'),
        (70, '<h', 24, 'datatype 24'),  # the code of no type
        (280, '<I', 0x7FA00000, 'no orientation follows'),  # a signalling NaN
        (284, '<f', np.inf, 'no orientation follows'),
        (80, '<f', np.nan, 'spacing nan mm'),
        (80, '<f', 1.75, 'pixdim says voxels of 1.75 x 4 x 5 mm'),
        (108, '<f', 0.0, 'vox_offset is 0'),
        (108, '<f', 348.0, 'vox_offset is 348'),
        (108, '<f', 352.5, 'vox_offset is 352.5'),
        (108, '<f', 368.0, '9776 bytes of voxels'),
        (40, '<h', 512, r'dim\[0\] is 512'),
        (40, '<h', -1, r'dim\[0\] is -1'),
        (42, '<h', 9, 'more than the 4896 bytes of voxels'),
        (46, '<h', 8, 'more than the 4896 bytes of voxels'),
        (254, '<h', -1, 'sform_code is -1'),
        (252, '<h', 99, 'qform_code is 99'),
        (123, 'B', 1, 'says metres'),
        (123, 'B', 3, 'says micrometres'),
        (123, 'B', 7, 'says code 7'),
        (292, '<f', np.inf, 'no orientation follows'),
        (292, '<f', 3e38, 'origin .* is farther'),
        (344, '4s', b'n+9\0', 'magic is'),
    ],
)
def test_defective_nifti_headers_are_refused(
    tmp_path: Path,
    rng: np.random.Generator,
    start: int,
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
    struct.pack_into(form, content, start, value)
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


AFFINES = {
    'straight': np.diag([-3.5, -4, 5, 1]),
    'mirrored': np.diag([3.5, 4, 5, 1]),
    'turned': np.array(
        [[0, -4, 0, 7], [0, 0, 5, 8], [3.5, 0, 0, 9], [0, 0, 0, 1.0]]
    ),
    'oblique': np.array(
        [[2.8, -2.4, 0, 7], [2.1, 3.2, 0, 8], [0, 0, 5, 9], [0, 0, 0, 1.0]]
    ),
}


@pytest.mark.parametrize('kind', [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize('form', ['sform', 'qform'])
@pytest.mark.parametrize('name', AFFINES)
def test_grid_is_nibabels_affine(
    tmp_path: Path,
    rng: np.random.Generator,
    name: str,
    form: str,
    kind: type,
) -> None:
    array = hu(rng)
    image = kind(array.T, None)
    getattr(image, f'set_{form}')(AFFINES[name], code=1)
    nibabel.save(image, tmp_path / 'x.nii.gz')

    read = read_image(tmp_path / 'x.nii.gz')

    affine = nibabel.load(tmp_path / 'x.nii.gz').affine
    index = np.array([[0, 0, 0], [3, 2, 1], [15, 16, 17]])  # z, y, x
    ras = nibabel.affines.apply_affine(affine, index[:, ::-1])
    np.testing.assert_allclose(
        read.geometry.to_world(index), ras * (-1, -1, 1), atol=1e-5
    )
    np.testing.assert_array_equal(read.array, array)
    assert read.caveats == ()


def test_the_sform_goes_before_the_qform(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = nibabel.Nifti1Image(hu(rng).T, None)
    image.set_qform(AFFINES['straight'], code=1)
    image.set_sform(AFFINES['turned'], code=1)
    nibabel.save(image, tmp_path / 'x.nii')

    geometry = read_image(tmp_path / 'x.nii').geometry

    np.testing.assert_allclose(geometry.origin, (-7, -8, 9))


@pytest.mark.parametrize(
    ('slope', 'inter'), [(1, 0), (1, -1024), (0.5, 3), (0, 7), (np.nan, 0)]
)
def test_scaled_values_are_nibabels(
    tmp_path: Path, rng: np.random.Generator, slope: float, inter: float
) -> None:
    path = tmp_path / 'x.nii'
    nibabel.save(nibabel.Nifti1Image(hu(rng).T, AFFINES['straight']), path)
    content = bytearray(path.read_bytes())
    struct.pack_into('<2f', content, 112, slope, inter)
    path.write_bytes(content)

    array = read_image(path).array

    wanted = np.asarray(nibabel.load(path).dataobj).T
    np.testing.assert_array_equal(array, wanted)
    assert array.dtype in (np.int16, np.float32)


@pytest.mark.parametrize(
    ('start', 'form', 'value', 'reason'),
    [
        (0, '<i', 349, 'no NIfTI header'),
        (344, '4s', b'ni1', 'in another file'),
        (344, '4s', bytes(4), 'magic is'),
        (42, '<h', 0, 'axis without voxels'),
        (40, '<h', 2, 'one 3D channel'),
        (40, '<h', 4, 'one 3D channel'),
        (72, '<h', 8, 'of 8 bits is not supported'),
        (112, '<2f', (1, np.inf), 'header is damaged'),
        (256, '<f', 2.0, 'no orientation follows'),  # a quaternion over 1
    ],
)
def test_other_damage_of_the_header_is_refused(
    tmp_path: Path,
    rng: np.random.Generator,
    start: int,
    form: str,
    value: object,
    reason: str,
) -> None:
    path = tmp_path / 'x.nii'
    image = nibabel.Nifti1Image(hu(rng).T, None)
    image.set_qform(AFFINES['straight'], code=1)
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    values = value if isinstance(value, tuple) else (value,)
    struct.pack_into(form, content, start, *values)
    if reason == 'one 3D channel' and value == 4:
        struct.pack_into('<h', content, 48, 2)
    path.write_bytes(content)

    with pytest.raises(SeriesError, match=reason) as caught:
        read_image(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize('length', [3, 200, 348, 352])
def test_a_file_cut_in_or_behind_its_header_is_refused(
    tmp_path: Path, rng: np.random.Generator, length: int
) -> None:
    path = tmp_path / 'x.nii'
    nibabel.save(nibabel.Nifti1Image(hu(rng).T, AFFINES['straight']), path)
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(SeriesError, match='cut|no NIfTI header'):
        read_image(path)


def test_a_wrong_checksum_of_a_gz_is_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / 'x.nii.gz'
    nibabel.save(nibabel.Nifti1Image(hu(rng).T, AFFINES['straight']), path)
    content = bytearray(path.read_bytes())
    content[-8] ^= 255
    path.write_bytes(content)

    with pytest.raises(SeriesError, match='CRC check failed'):
        read_image(path)


def written(
    folder: Path, array: np.ndarray, changes: dict[int, tuple[str, object]]
) -> Path:
    """An image with qform and sform, and some bytes of its header changed."""
    path = folder / 'x.nii'
    image = nibabel.Nifti1Image(array.T, None)
    image.set_qform(AFFINES['straight'], code=1)
    image.set_sform(AFFINES['straight'], code=1)
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    for start, (form, value) in changes.items():
        struct.pack_into(form, content, start, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({}, ''),
        ({76: ('<f', 0.0)}, ''),  # as the standard: 0 is 1
        ({268: ('<f', 40.0)}, 'qform and sform lie up to 40 mm apart'),
        ({76: ('<f', -1.0)}, 'qform and sform lie up to'),
        ({256: ('<f', 2.0)}, 'the qform cannot be read'),
        ({268: ('<f', np.nan)}, 'the qform cannot be read'),
        ({84: ('<f', 4.02), 252: ('<h', 0)}, 'pixdim says voxels of'),
        ({80: ('<f', 0.0), 252: ('<h', 0)}, 'pixdim states no voxel size'),
        ({284: ('<f', 0.01)}, 'were not orthonormal'),
    ],
)
def test_what_a_header_says_twice_differently_is_told(
    tmp_path: Path, rng: np.random.Generator, changes: dict, text: str
) -> None:
    array = hu(rng)

    image = read_image(written(tmp_path, array, changes))

    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_allclose(image.geometry.spacing, (5, 4, 3.5), rtol=1e-4)
    assert text in ' '.join(image.caveats)
    assert bool(image.caveats) == bool(text)


def test_a_sheared_grid_is_explained(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = written(tmp_path, hu(rng), {304: ('<f', 0.5)})

    with pytest.raises(SeriesError, match=r'are at .* degrees.*[Rr]esample'):
        read_image(path)


def test_voxels_that_a_gz_cannot_hold_take_no_memory(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = written(tmp_path, hu(rng), {44: ('<h', 2000), 46: ('<h', 3000)})
    content = bytearray(path.read_bytes())
    for start in (80, 84, 88, 280, 300, 320):  # pixdim and the sform
        struct.pack_into('<f', content, start, 0.5 if start != 280 else -0.5)
    packed = tmp_path / 'x.nii.gz'
    packed.write_bytes(gzip.compress(bytes(content)))

    tracemalloc.start()
    with pytest.raises(SeriesError, match='cannot hold|pixdim'):
        read_image(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10_000_000


def test_voxels_do_not_begin_in_an_extension(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    header = nibabel.Nifti1Header()
    header.extensions.append(
        nibabel.nifti1.Nifti1Extension('comment', bytes(200))
    )
    image = nibabel.Nifti1Image(hu(rng).T, AFFINES['straight'], header)
    path = tmp_path / 'x.nii'
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    start = struct.unpack_from('<f', content, 108)[0]
    struct.pack_into('<f', content, 108, start - 32)
    path.write_bytes(content)

    with pytest.raises(SeriesError, match='inside an extension'):
        read_image(path)
