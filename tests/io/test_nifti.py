from __future__ import annotations

import struct
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
