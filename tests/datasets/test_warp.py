"""Resampling against a voxel-wise reading of the index map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from lungdet.datasets.warp import (
    is_exact,
    source_region,
    warp_linear,
    warp_nearest,
)

SHAPE = (4, 5, 6)


def literal_linear(source: np.ndarray, index: np.ndarray) -> float:
    total, low = 0.0, np.floor(index).astype(int)
    for corner in np.ndindex(2, 2, 2):
        at = np.clip(low + corner, 0, np.array(source.shape) - 1)
        weight = np.where(corner, index - low, 1 - (index - low)).prod()
        total += weight * source[tuple(at)]
    return total


def turn_about_z(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


@given(
    angle=st.floats(-3.2, 3.2),
    factor=st.floats(0.7, 1.4),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    shift=st.tuples(*[st.floats(-2, 9)] * 3),
    seed=st.integers(0, 99),
)
def test_warp_equals_the_literal_one(
    angle: float, factor: float, signs: tuple, shift: tuple, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    source = rng.integers(-1024, 3071, (9, 11, 8)).astype(np.int16)
    matrix = np.diag(signs) @ turn_about_z(angle) / factor + 1e-7
    matrix[0, 1:] = matrix[1:, 0] = 0.0
    offset = np.array(shift) + 0.001

    linear = warp_linear(source, matrix, offset, SHAPE)

    assert linear.dtype == np.float32 and linear.shape == SHAPE
    for j in rng.integers(0, SHAPE, (12, 3)):
        index = np.clip(offset + matrix @ j, 0, np.array(source.shape) - 1)
        assert linear[tuple(j)] == pytest.approx(
            literal_linear(source, index), abs=0.05
        )
    labels = (source > 2000).astype(np.uint8)
    wanted = affine_transform(
        labels, matrix, offset, output_shape=SHAPE, order=0, mode='nearest'
    )
    positions = matrix @ np.indices(SHAPE).reshape(3, -1) + offset[:, None]
    tie = np.abs(positions - np.floor(positions) - 0.5).min(0) < 1e-6
    nearest = warp_nearest(labels, matrix, offset, SHAPE)
    np.testing.assert_array_equal(nearest.ravel()[~tie], wanted.ravel()[~tie])


def test_tilted_map_is_interpolated_along_three_axes() -> None:
    rng = np.random.default_rng(1)
    source = rng.integers(-1024, 3071, (20, 20, 20)).astype(np.int16)
    tilt = np.array([[0.8, 0, -0.6], [0, 1, 0], [0.6, 0, 0.8]])
    offset = np.array([6.0, 3.0, 2.5])

    linear = warp_linear(source, tilt, offset, SHAPE)
    nearest = warp_nearest(source, tilt, offset + 0.01, SHAPE)

    for j in np.ndindex(SHAPE):
        index = offset + tilt @ j
        assert linear[j] == pytest.approx(
            literal_linear(source, index), abs=0.05
        )
        near = np.floor(index + 0.01 + 0.5).astype(int)
        assert nearest[j] == source[tuple(near)]


@pytest.mark.parametrize(
    'matrix',
    [
        np.eye(3),
        np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
        np.array([[0.5, 0, -0.5], [0, 1, 0], [0.5, 0, 0.5]]),
    ],
    ids=['shifted', 'turned', 'tilted'],
)
def test_a_label_half_way_is_the_upper_one_wherever_a_crop_starts(
    matrix: np.ndarray,
) -> None:
    source = np.arange(1, 1001).reshape(10, 10, 10)
    offset = np.array([3.5, 3.5, 2.5])
    index = np.einsum('ab,bzyx->azyx', matrix, np.indices(SHAPE))
    index += offset[:, None, None, None]
    assert (index % 1 == 0.5).any((1, 2, 3)).all()
    upper = source[tuple(np.floor(index + 0.5).astype(int))]

    for start in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        part = source[tuple(slice(k, None) for k in start)]
        nearest = warp_nearest(part, matrix, offset - start, SHAPE)
        np.testing.assert_array_equal(nearest, upper)


def test_flips_and_transpositions_are_exact() -> None:
    source = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)
    # first axis mirrored, the others swapped and one of them mirrored
    matrix = np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    offset = np.array([3.0, 5.0, 0.0])
    wanted = source[::-1].transpose(0, 2, 1)[:, :, ::-1]

    low, high = source_region(matrix, offset, SHAPE)

    assert low.tolist() == [0, 0, 0] and high.tolist() == [4, 6, 5]
    for warp in (warp_linear, warp_nearest):
        np.testing.assert_array_equal(
            warp(source, matrix, offset, SHAPE), wanted
        )
        assert warp(source, matrix, offset, SHAPE).dtype == np.int16


def test_a_map_is_exact_only_from_voxel_to_voxel() -> None:
    assert is_exact(np.eye(3)[[2, 0, 1]], np.array([1.0, -4, 0]))
    assert not is_exact(np.eye(3), np.array([0, 0.5, 0]))
    assert not is_exact(2 * np.eye(3), np.zeros(3))
    assert not is_exact(turn_about_z(1e-6), np.zeros(3))


def test_region_holds_every_voxel_that_is_interpolated() -> None:
    matrix, offset = turn_about_z(0.7) / 1.1, np.array([3.0, -2.5, 8.25])
    corners = np.array(np.meshgrid(*([0, n - 1] for n in SHAPE)))
    index = matrix @ corners.reshape(3, -1) + offset[:, None]

    low, high = source_region(matrix, offset, SHAPE)

    np.testing.assert_array_equal(low, np.floor(index.min(1) + 1e-6))
    np.testing.assert_array_equal(high, np.ceil(index.max(1) - 1e-6) + 1)


def test_labels_of_an_empty_region_need_no_resampling() -> None:
    empty = np.zeros((9, 9, 9), dtype=np.uint8)

    labels = warp_nearest(empty, turn_about_z(0.3), np.zeros(3), SHAPE)

    assert labels.shape == SHAPE and labels.dtype == np.uint8
    assert not labels.any()
