from __future__ import annotations

import numpy as np
import pytest

from lungdet.phantom import Phantom, make_phantom


def test_same_seed_same_voxels() -> None:
    a, b = (make_phantom([5, 2], size='small') for _ in range(2))
    other = make_phantom([5, 3], size='small')

    np.testing.assert_array_equal(a.volume.array, b.volume.array)
    assert a.annotations == b.annotations
    assert (
        a.volume.array.shape != other.volume.array.shape
        or (a.volume.array != other.volume.array).any()
    )


@pytest.mark.parametrize(
    ('number', 'shape', 'mean', 'spread', 'lung', 'nodules'),
    [
        (0, (54, 336, 336), -882.81, 736.91, -800.23, (4.623, 5.726)),
        (3, (80, 384, 384), -876.99, 741.67, -787.93, (4.799,)),
    ],
)
def test_phantoms_are_frozen(
    number: int,
    shape: tuple[int, ...],
    mean: float,
    spread: float,
    lung: float,
    nodules: tuple[float, ...],
) -> None:
    """Figures measured on phantoms compare only while these stay the same.

    Read off the generator as it was when the figures of the docs were taken;
    whoever changes it measures them again.
    """
    phantom = make_phantom([1, number], size='small')
    array = phantom.volume.array

    assert array.shape == shape
    assert array.mean() == pytest.approx(mean, abs=0.02)
    assert array.std() == pytest.approx(spread, abs=0.02)
    assert array[phantom.lungs > 0].mean() == pytest.approx(lung, abs=0.02)
    diameters = [nodule.diameter_mm for nodule in phantom.annotations]
    assert diameters == pytest.approx(nodules, abs=2e-3)


def test_mask_and_annotation_agree(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        voxel = np.prod(phantom.volume.geometry.spacing)
        assert len(phantom.annotations) == 2
        for number, annotation in enumerate(phantom.annotations, start=1):
            mask = phantom.masks == number
            diameter = (6 * mask.sum() * voxel / np.pi) ** (1 / 3)
            assert diameter == pytest.approx(
                annotation.diameter_mm, rel=0.15, abs=0.6
            )
            at = phantom.volume.geometry.to_index(
                np.array([annotation.center_mm])
            )[0]
            assert mask[tuple(np.rint(at).astype(int))]


def test_excluded_list_holds_look_alikes_and_the_nodules_own_marks(
    phantoms: list[Phantom],
) -> None:
    for phantom in phantoms:
        marked = {f.center_mm for f in phantom.excluded}
        assert {a.center_mm for a in phantom.annotations} <= marked
        assert any(f.diameter_mm is None for f in phantom.excluded)
