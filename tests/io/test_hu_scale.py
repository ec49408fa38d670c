"""HU that were scaled or shifted are noticed; HU are not doubted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.file_image import FileImage
from lungdet.io.hu_rules import to_hu
from lungdet.io.image import load_volume, write_image
from lungdet.phantom import make_phantom
from lungdet.phantom.conditions import CONDITIONS
from lungdet.structures import Volume
from tests.prepare.scans import chest, volume_of

DOUBT = 'do not look like a chest in HU'
# what is done to HU, and the words that name it
CHANGES = {
    'times 0.5': lambda hu: hu * 0.5,
    'times 0.75': lambda hu: hu * 0.75,
    'plus 500': lambda hu: hu + 500,
    'minus 300': lambda hu: hu - 300,
}


def noisy(hu: np.ndarray, noise: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(4)
    return hu + rng.normal(0, noise, hu.shape)


def written(folder: Path, hu: np.ndarray, like: Volume | None = None) -> Path:
    volume = like or volume_of(hu.astype(np.int16))
    write_image(
        folder / 'a.mha', np.rint(hu).astype(np.int16), volume.geometry
    )
    return folder / 'a.mha'


def doubts(path: Path) -> list[str]:
    return [text for text in load_volume(path).caveats if DOUBT in text]


@pytest.mark.parametrize('noise', [5, 20, 60])
@pytest.mark.parametrize('name', CHANGES)
def test_other_scales_are_named(
    tmp_path: Path, name: str, noise: float
) -> None:
    changed = CHANGES[name](noisy(chest(), noise))

    (doubt,) = doubts(written(tmp_path, changed))

    assert doubt.endswith(f'they look like HU {name}')


def contrast(hu: np.ndarray) -> np.ndarray:
    """Blood of 350 HU in a third of the tissue."""
    hu[:, 30:60, 50:62] = np.where(hu[:, 30:60, 50:62] > 0, 350, -850)
    return hu


def tight(hu: np.ndarray) -> np.ndarray:
    """Cut to the lungs and half of their tissue: no air around the body."""
    return hu[10:60, 22:66, 20:92]


def fibrosis(hu: np.ndarray) -> np.ndarray:
    """Lung of -700, around a trachea."""
    hu = np.where(hu == -850, -700, hu)
    hu[:, 40:44, 53:57] = -990
    return tight(hu)


def padded(hu: np.ndarray) -> np.ndarray:
    """-3024 outside the circle of view."""
    y, x = np.indices(hu.shape[1:]) - 45.0
    hu[:, np.hypot(y, x - 10) > 50] = -3024
    return hu


@pytest.mark.parametrize('noise', [5, 20, 80])
@pytest.mark.parametrize(
    'change', [lambda hu: hu, contrast, tight, fibrosis, padded]
)
def test_hu_are_not_doubted(
    tmp_path: Path, change: Callable, noise: float
) -> None:
    hu = change(chest().astype(float))
    hu = np.where(hu < -2000, hu, noisy(hu, noise))

    assert not doubts(written(tmp_path, hu))


@pytest.mark.parametrize('value', [-900, -800, -300])
def test_an_image_of_one_value_is_doubted(tmp_path: Path, value: int) -> None:
    (doubt,) = doubts(written(tmp_path, np.full((20, 30, 30), value)))

    assert doubt.endswith(f'all are {value}, or nearly so')


@pytest.mark.parametrize('value', [-1000, 0, 40])
def test_an_image_without_air_or_of_air_alone_is_refused(
    tmp_path: Path, value: int
) -> None:
    path = written(tmp_path, np.full((20, 30, 30), value))

    with pytest.raises(SeriesError, match='air alone|one value|no air'):
        load_volume(path)


def test_an_offset_is_added_to_hu_that_lack_it(tmp_path: Path) -> None:
    hu = np.rint(noisy(chest()))
    path = written(tmp_path, hu + 500)

    volume = load_volume(path, hu_offset=-500)

    np.testing.assert_array_equal(volume.array, hu)
    assert not volume.caveats


@pytest.mark.slow
@pytest.mark.parametrize('condition', ['', *CONDITIONS])
def test_phantoms_are_not_doubted(tmp_path: Path, condition: str) -> None:
    for seed in (1, 2):
        conditions = (condition,) if condition else ()
        volume = make_phantom(seed, size='small', conditions=conditions).volume

        assert not doubts(written(tmp_path, volume.array, volume)), seed


def real_scans(data: Path) -> Iterator[Path]:
    for pattern in (
        'luna16-m*/subset*/*.mhd',
        'luna16-mini/subset1-dicom/*',
        'backgrounds/scans/*.mhd',
        'whole_3mm/*[!s].mha',
    ):
        yield from sorted(data.glob(pattern))


@pytest.mark.slow
def test_real_scans_are_doubted_only_on_another_scale(
    test_data: Path,
) -> None:
    paths = list(real_scans(test_data))
    assert len(paths) == 15
    silent = []
    for path in paths:
        volume = load_volume(path)
        assert not any(DOUBT in text for text in volume.caveats), path
        for name, change in CHANGES.items():
            changed = change(volume.array[::2, ::2, ::2].astype(np.float32))
            image = FileImage(str(path), changed, volume.geometry)
            _, caveats = to_hu(image)
            if not any(DOUBT in text for text in caveats):
                silent.append((path.name[-20:], name))

    assert not silent
