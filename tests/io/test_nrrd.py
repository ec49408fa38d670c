from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume, read_image
from tests.io.images import hu, write_nrrd


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
        ({'Sizes': '18 17 16'}, 'sizes appears twice'),
        ({'sizes': '18 17 15'}, '9792 bytes of voxels, .* promises 9180'),
        ({'sizes': '1_8 17 16'}, "sizes is '1_8 17 16'"),
        ({'dimension': '4'}, "dimension is '4' and sizes has 3"),
        ({'endian': None}, "endian is ''"),
        ({'encoding': 'ascii'}, "encoding 'ascii'"),
        ({'byte_skip': '100'}, "byteskip is '100'"),
        ({'line_skip': '1'}, "lineskip is '1'"),
        ({'space_units': '"cm" "cm" "cm"'}, 'spaceunits are'),
        ({'spacings': '1 1 1'}, 'spacings say'),
        ({'space_origin': '(1,2)'}, 'space origin is'),
        ({'space_origin': '(1e30,2,3)'}, 'is farther than'),
        (
            {'space_origin': None, 'space_orig': '(1,2,3)'},
            'not a field of a NRRD',
        ),
        ({'space': 'right-up'}, "space is 'right-up'"),
        (
            {'space': 'RAS', 'space_directions': None, 'spacings': '3 4 5'},
            'way',
        ),
        ({'space_origin': '(' + '9' * 5000 + ',0,0)'}, 'space origin is'),
        ({'kinds': 'x' * 70_000}, 'no NRRD header'),
        ({'type': 'x' * 5000}, "NRRD type 'x"),
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
    ('space', 'signs'),
    [
        ('left-posterior-superior', (1, 1, 1)),
        ('LPS', (1, 1, 1)),
        ('right-anterior-superior', (-1, -1, 1)),
        ('left-anterior-superior', (1, -1, 1)),
        ('LAS', (1, -1, 1)),
    ],
)
def test_axes_of_every_patient_space(
    tmp_path: Path, rng: np.random.Generator, space: str, signs: tuple
) -> None:
    array = hu(rng)

    image = read_image(write_nrrd(tmp_path, array.tobytes(), space=space))

    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_allclose(image.geometry.direction, np.diag(signs))
    np.testing.assert_allclose(
        image.geometry.origin, np.array([-10, 20, -30]) * signs
    )
    assert image.caveats == ()


@pytest.mark.parametrize(
    'kind', ['i1', 'u1', '<i2', '>u2', '>i4', '<f4', '<f8']
)
@pytest.mark.parametrize('packed', [False, True])
def test_nrrd_values_agree_with_simpleitk(
    tmp_path: Path, rng: np.random.Generator, kind: str, packed: bool
) -> None:
    names = {
        'i1': 'signed char',
        'u1': 'uchar',
        'i2': 'int16',
        'u2': 'unsigned short',
        'i4': 'int',
        'f4': 'float',
        'f8': 'double',
    }
    array = rng.integers(0, 100, (16, 17, 18)).astype(kind)
    payload = array.tobytes()
    path = write_nrrd(
        tmp_path,
        gzip.compress(payload) if packed else payload,
        type=names[kind.strip('<>')],
        endian='big' if '>' in kind else 'little',
        encoding='gzip' if packed else 'raw',
    )

    image = read_image(path)

    wanted = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(wanted))
    np.testing.assert_allclose(image.geometry.origin, wanted.GetOrigin())
    np.testing.assert_allclose(
        image.geometry.direction.ravel(), wanted.GetDirection()
    )


def test_damage_of_compressed_voxels_is_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Wherever the bit lies: the checksum at the end is compared."""
    payload = gzip.compress(hu(rng).tobytes())
    for at in rng.integers(10, len(payload) - 4, 40):
        flipped = bytearray(payload)
        flipped[at] ^= 4
        path = write_nrrd(tmp_path, bytes(flipped), encoding='gzip')
        with pytest.raises(SeriesError, match='damaged|more|less'):
            read_image(path)


def test_voxels_that_the_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = write_nrrd(
        tmp_path,
        gzip.compress(b''),
        sizes='1000 1000 1400',
        space_directions='(1,0,0) (0,1,0) (0,0,1)',
        encoding='gzip',
    )

    with pytest.raises(SeriesError, match='cannot hold'):
        read_image(path)
