from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.geometry import Geometry
from lungdet.io.image import load_volume, read_image, write_image

SHAPE = (4, 5, 6)
FIELDS = {
    'ObjectType': 'Image',
    'NDims': '3',
    'BinaryData': 'True',
    'BinaryDataByteOrderMSB': 'False',
    'CompressedData': 'False',
    'TransformMatrix': '1 0 0 0 1 0 0 0 1',
    'Offset': '-10 20 -30',
    'ElementSpacing': '0.7 0.8 2.5',
    'DimSize': '6 5 4',
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
        ({'DimSize': '6 5 5'}, '240 bytes of voxels, the header promises 300'),
        ({'DimSize': '6 5 3'}, 'promises 180'),
        ({'DimSize': '100000 100000 100000'}, 'image claims'),
        ({'DimSize': '6 5 -4'}, 'axis without voxels'),
        ({'DimSize': '6 5 0'}, 'axis without voxels'),
        ({'DimSize': '6 5'}, 'not 3 numbers'),
        ({'ElementSpacing': '0 1 1'}, 'spacing 0 mm is outside'),
        ({'ElementSpacing': '0,5 1 1'}, 'not 3 numbers'),
        ({'ElementSpacing': 'nan 1 1'}, 'not 3 numbers'),
        ({'ElementSpacing': '-1 1 1'}, 'outside'),
        ({'ElementSpacing': '1e6 1 1'}, 'outside'),
        ({'ElementSpacing': None}, 'ElementSpacing is missing'),
        ({'Offset': 'nan 0 0'}, 'not 3 numbers'),
        ({'TransformMatrix': '0 0 0 0 0 0 0 0 0'}, 'not orthonormal'),
        ({'TransformMatrix': '1 0.2 0 0 1 0 0 0 1'}, 'not orthonormal'),
        ({'NDims': '4', 'DimSize': '6 5 4 2'}, '6 5 4 2'),
        ({'ElementNumberOfChannels': '3'}, '3 channels'),
        ({'ElementToIntensityFunctionSlope': '2'}, 'would be ignored'),
        ({'ElementType': 'MET_LONG_LONG'}, 'is not one of'),
        ({'CompressedData': 'True'}, 'damaged'),
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
        (lambda b: zlib.compress(b'\0' * 200_000_000), 'more than'),
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


@pytest.mark.parametrize('kind', ['i1', 'u1', 'i2', 'u2', 'i4', 'f4', 'f8'])
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
        spacing_zyx=(2.5, 0.8, 0.7),
        origin_xyz=(-10, 20, -30),
        direction=TURNS[turn],
    )
    path = tmp_path / f'scan{suffix}'
    write_image(path, hu(rng), geometry)

    volume = load_volume(path)

    image = sitk.ReadImage(str(path))
    for index in np.argwhere(np.ones(volume.array.shape)):
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
