"""Blending keeps the scan's noise; its blur is that of the scan's slices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lungdet.geometry import Geometry, interpolate_axis
from lungdet.insertion.blend import (
    Profile,
    blend_tissue,
    scan_profiles,
    structure,
    tissue_noise,
)
from lungdet.insertion.donor import donor_of_nodule
from lungdet.insertion.insert import insert
from lungdet.insertion.placement import Placement, render_insertion
from lungdet.insertion.source import LibrarySource
from tests.io.nodules import ball_nodule

GRID = Geometry.from_parts(
    (60, 61, 62), spacing_zyx=(1, 1, 1), origin_xyz=(3, 4, 5)
)
SOURCE = Geometry.from_parts(
    (24, 88, 89), spacing_zyx=(2.5, 0.7, 0.7), origin_xyz=(2.85, 3.85, 5.75)
)
# of the scan's kernel: HU, and sigma in pixels
KERNELS = {'smooth': (18.0, 0.8), 'standard': (25.0, 0.5), 'sharp': (45.0, 0)}


def scan_noise(rng: np.random.Generator, kernel: str) -> np.ndarray:
    """Noise of 2.5 mm slices, interpolated to 1 mm, (60, 61, 62)."""
    hu, sigma = KERNELS[kernel]
    slices = gaussian_filter(rng.normal(size=SOURCE.shape), (0, sigma, sigma))
    slices *= hu / slices.std()
    matrix, offset = SOURCE.index_map(GRID)
    for axis, size in enumerate(GRID.shape):
        positions = offset[axis] + matrix[axis, axis] * np.arange(size)
        slices = interpolate_axis(slices, positions, axis)
    return slices


def high_pass(values: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    return values - (np.roll(values, 1, -1) + np.roll(values, -1, -1)) / 2


def next_slice(values: np.ndarray, shell: np.ndarray) -> float:
    """Correlation with the next slice, of images (n, z, y, x)."""
    both = shell[1:] & shell[:-1]
    lower, upper = values[:, :-1][:, both], values[:, 1:][:, both]
    return float(np.corrcoef(lower.ravel(), upper.ravel())[0, 1])


@pytest.mark.parametrize('kernel', KERNELS)
def test_noise_is_that_of_the_scan_in_every_shell(
    kernel: str, rng: np.random.Generator
) -> None:
    """The gate: sd and slice correlation inside and out, within 10 %."""
    nodule = ball_nodule('a', diameter_mm=17.0, shape=(15, 60, 60))
    center = (29, 31, 30)
    placement = Placement('nodule', 'library', 'parenchyma', center, index=0)
    source = LibrarySource([nodule])
    noise = np.array([scan_noise(rng, kernel) for _ in range(8)])

    clean, *noisy = (
        insert(image, [placement], source, GRID, SOURCE)[0]
        for image in (np.full(GRID.shape, -870.0), *(noise - 870))
    )
    after = np.array(noisy) - clean

    axes = zip(np.indices(GRID.shape), center)
    away = np.sqrt(sum((a - c) ** 2 for a, c in axes))
    for low, high in ((0, 4), (4, 7), (7, 8.5), (8.5, 10), (10, 13)):
        shell = (away >= low) & (away < high)
        for changed, whole in ((after, noise), map(high_pass, (after, noise))):
            ratio = changed[:, shell].std() / whole[:, shell].std()
            assert ratio == pytest.approx(1, abs=0.10), (low, high)
        ratio = next_slice(after, shell) / next_slice(noise, shell)
        assert ratio == pytest.approx(1, abs=0.10), (low, high)


def test_a_small_ball_is_blurred_as_by_slices_and_interpolation() -> None:
    """Oracle: cross-sections of a ball, averaged over each slice's profile."""
    nodule = ball_nodule(
        'a', diameter_mm=7.0, spacing=(0.5, 0.5, 0.5), shape=(31, 31, 31)
    )
    center = (29.3, 31.0, 30.0)
    placement = Placement(
        'nodule', 'library', 'parenchyma', center, psf_mm=0.6
    )

    one = render_insertion(
        donor_of_nodule(nodule),
        placement,
        GRID.shape,
        np.ones(3),
        scan_profiles(GRID, SOURCE, 0.6),
    )

    alpha = np.zeros(GRID.shape)
    alpha[one.region] = one.alpha
    radius = one.diameter_mm / 2
    matrix, offset = SOURCE.index_map(GRID)
    # a box of 2.5 mm, rounded by a Gaussian of .15 of it
    steps = np.arange(-450, 451) * 0.01
    weights = gaussian_filter((np.abs(steps) < 1.25).astype(float), 37.5)
    weights /= weights.sum()
    areas = []
    for number in range(SOURCE.shape[0]):
        middle = (number - offset[0]) / matrix[0, 0] - center[0]
        z = middle + steps
        areas.append(np.pi * np.clip(radius**2 - z**2, 0, None) @ weights)
    positions = offset[0] + matrix[0, 0] * np.arange(GRID.shape[0])
    wanted = interpolate_axis(np.array(areas), positions, 0)
    assert alpha.sum((1, 2)) == pytest.approx(
        wanted, abs=0.04 * float(wanted.max())
    )


@pytest.mark.parametrize('samples', [None, np.arange(-10, 11) * 1.25])
def test_cells_of_any_size_add_up(samples: np.ndarray | None) -> None:
    """A large nodule is drawn in coarse cells; it must not show them."""
    profile = Profile(1.25, 0.2, samples)
    at = np.linspace(-5, 5, 37)

    for step in (0.2, 0.35, 0.83, 1.1):
        cells = np.arange(-40, 41) * step
        assert profile.operator(at, cells).sum(1) == pytest.approx(1, abs=1e-4)


def test_a_profile_of_turned_slices_is_a_wider_blur() -> None:
    straight = scan_profiles(GRID, SOURCE, 0.6)
    cos = np.sqrt(0.5)
    turn = np.array([[cos, -cos, 0], [cos, cos, 0], [0, 0, 1]])
    tilted = GRID.transformed(turn, (30, 30, 30), (40, 40, 40))

    turned = scan_profiles(tilted, SOURCE, 0.6)
    flipped = scan_profiles(GRID.flip(0), SOURCE, 0.6)

    assert straight[0].samples_mm is not None
    assert straight[1].width_mm == pytest.approx(0.7)
    assert turned[0].samples_mm is None
    assert turned[0].width_mm == pytest.approx(np.sqrt((2.5**2 + 0.49) / 2))
    assert flipped[0].samples_mm is not None
    mirrored = np.sort(59 - straight[0].samples_mm)
    assert np.allclose(flipped[0].samples_mm, mirrored)


def test_structure_keeps_vessels_and_walls_without_noise(
    rng: np.random.Generator,
) -> None:
    clean = np.full(GRID.shape, -870.0, dtype=np.float32)
    clean[:, 30:34, 20:] = 30
    clean[:, :10] = 50
    noise = scan_noise(rng, 'standard').astype(np.float32)

    still = structure(clean + noise)

    lung = np.zeros(GRID.shape, dtype=bool)
    lung[:, 42:] = True
    assert (still - clean)[lung].std() < 0.45 * noise[lung].std()
    assert still[:, 31:33, 25:].mean() == pytest.approx(20, abs=30)
    assert still[:, 2:8].mean() == pytest.approx(50, abs=5)


def literal_structure(image: np.ndarray) -> np.ndarray:
    """One smoothing after the other."""
    fine = gaussian_filter(image, 0.7, truncate=2.5)
    middle = float(np.median(fine[fine < -500]))
    is_lung = (np.abs(fine - middle) < 250).astype(np.float32)
    weight = gaussian_filter(is_lung, 2.5, truncate=2.5)
    total = gaussian_filter(is_lung * (fine - middle), 2.5, truncate=2.5)
    lung = middle + total / np.maximum(weight, 1e-3)
    above = fine - lung
    noise = 1.48 * float(np.median(np.abs(above[is_lung > 0])))
    return lung + np.clip((np.abs(above) / noise - 2) / 2, 0, 1) * above


def test_structure_is_the_literal_one_to_the_bit(
    rng: np.random.Generator,
) -> None:
    image = scan_noise(rng, 'sharp').astype(np.float32) - 870
    image[:, 30:34, 20:] += 900

    np.testing.assert_array_equal(structure(image), literal_structure(image))


def test_a_solid_nodule_covers_a_vessel_a_faint_one_does_not() -> None:
    image = np.full((20, 20, 20), -870.0, dtype=np.float32)
    image[:, 9:12, 9:12] = 200
    alpha = np.ones(image.shape, dtype=np.float32)

    solid = blend_tissue(image, alpha, np.full(image.shape, 30.0))
    faint = blend_tissue(image, alpha, np.full(image.shape, -600.0))

    assert solid[:, 10, 10].mean() < 110
    assert faint[:, 10, 10].mean() == pytest.approx(200, abs=1)
    assert faint[:, 3, 3].mean() == pytest.approx(-600, abs=5)


def test_less_noise_of_tissue_damps_what_becomes_tissue(
    rng: np.random.Generator,
) -> None:
    image = (scan_noise(rng, 'sharp') - 870).astype(np.float32)
    alpha = np.ones(image.shape, dtype=np.float32)
    tissue = np.full(image.shape, 40.0)

    kept = blend_tissue(image, alpha, tissue).std()
    half = blend_tissue(image, alpha, tissue, noise=0.5).std()

    assert half == pytest.approx(kept / 2, rel=0.12)
    lungs = np.ones(image.shape)
    assert tissue_noise(image, lungs) == 1  # nothing to compare with
    drawn = np.where(np.arange(image.shape[2]) < 20, -870.0, 40.0)
    drawn = np.broadcast_to(drawn, image.shape)
    assert tissue_noise(drawn, drawn < 0) == 1  # without noise
