from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image, write_image
from tests.io.images import SHAPE, hu

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


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_volume(tmp_path / 'nothing.mhd')
    (tmp_path / 'x.jpg').write_bytes(b'1')
    with pytest.raises(SeriesError, match='unknown image type'):
        load_volume(tmp_path / 'x.jpg')
    (tmp_path / 'x.nii').write_bytes(b'')
    with pytest.raises(SeriesError, match='empty'):
        load_volume(tmp_path / 'x.nii')


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

    image = read_image(path)

    assert image.array.dtype == array.dtype
    np.testing.assert_array_equal(image.array, array)
    assert image.geometry.is_close(geometry)


@pytest.mark.slow
def test_real_scans_agree_with_simpleitk(test_data: Path) -> None:
    for path in sorted((test_data / 'luna16-mini').glob('subset?/*.mhd')):
        volume = load_volume(path)
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(
            volume.array, sitk.GetArrayViewFromImage(image)
        )
        np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin())
