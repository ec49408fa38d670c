from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lungdet.errors import ConfigError
from lungdet.models import AttentionPlugin, NoduleNet
from lungdet.models.detectors.case_windows import (
    CaseWindow,
    axis_windows,
    case_windows,
    crop_window,
    even_batches,
    fitted_size,
    windows_near,
)


@given(
    side=st.integers(1, 500),
    window=st.sampled_from([32, 64]),
    overlap=st.sampled_from([0, 16, 24]),
)
def test_cores_part_the_axis_and_lie_in_their_windows(
    side: int, window: int, overlap: int
) -> None:
    windows = axis_windows(side, window, overlap)
    points = np.arange(0.25, side, 0.5)

    owners = [
        [k for k, (_, low, high) in enumerate(windows) if low <= p < high]
        for p in points
    ]

    assert all(len(owner) == 1 for owner in owners)
    for p, (k,) in zip(points, owners):
        start = windows[k][0]
        assert start <= p < start + window or side <= window
    if side > window:
        assert windows[-1][0] == side - window


def test_windows_of_a_case_and_their_padding() -> None:
    case = torch.arange(40 * 20 * 36).view(1, 40, 20, 36)

    crops = [
        crop_window(case, window, -7)
        for window in case_windows(case.shape[1:], (32, 32, 32), 16)
    ]

    assert len(crops) == 4
    assert torch.equal(crops[0][:, :, :20], case[:, :32, :, :32])
    assert (crops[0][:, :, 20:] == -7).all()
    assert torch.equal(crops[3][:, :, :20], case[:, 8:, :, 4:])


def test_core_and_offset_are_boxes() -> None:
    first, last = case_windows((32, 32, 48), (32, 32, 32), 16)

    inf = torch.inf
    assert first.core(seam=2).tolist() == [-inf] * 3 + [inf, inf, 26]
    assert last.core().tolist() == [-inf, -inf, 24, inf, inf, inf]
    assert last.offset().tolist() == [0, 0, 16, 0, 0, 16]


def test_windows_must_get_on() -> None:
    with pytest.raises(ConfigError, match=r'overlap: 32, .* has 32 voxels'):
        case_windows((40, 64, 40), (48, 32, 48), 32)

    assert len(case_windows((40, 32, 40), (48, 32, 48), 32)) == 1


def test_batches_hold_every_window_once_and_differ_by_one() -> None:
    every = case_windows((100, 130, 40), (32, 32, 32), 8)
    for most in (1, 2, 4, 7, 1000):
        batches = list(even_batches(every, most))
        assert [w for batch in batches for w in batch] == every
        sizes = {len(batch) for batch in batches}
        assert max(sizes) <= most and max(sizes) - min(sizes) <= 1
    assert list(even_batches([], 4)) == []


CHEST = st.tuples(
    st.integers(150, 420), st.integers(150, 420), st.integers(150, 420)
)


@given(CHEST)
def test_fitted_windows_compute_a_voxel_of_a_chest_at_most_1_6_times(
    shape: tuple[int, int, int],
) -> None:
    windows = case_windows(shape, None, 32, 12_000_000)

    computed = sum(math.prod(window.size) for window in windows)
    assert computed <= 1.6 * math.prod(shape)
    assert all(math.prod(window.size) <= 12_000_000 for window in windows)
    for axis in range(3):
        starts = sorted({window.start[axis] for window in windows})
        side = windows[0].size[axis]
        assert side % 16 == 0
        assert starts[0] == 0 and starts[-1] + side >= shape[axis]
        assert all(a + side - b >= 32 for a, b in itertools.pairwise(starts))


@settings(max_examples=10)
@given(CHEST, st.integers(0, 2**32 - 1))
def test_windows_near_lungs_compute_a_voxel_at_most_1_6_times(
    shape: tuple[int, int, int], seed: int
) -> None:
    """Two ellipsoids, each in its half of the chest, of any size."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[tuple(map(slice, shape))]
    lungs = np.zeros(shape, bool)
    for side in (0.25, 0.75):
        middle = np.array(shape) * [0.5, 0.5, side]
        radii = np.array(shape) * [0.5, 0.5, 0.25] * rng.uniform(0.3, 1, 3)
        gaps = ((g - m) / r for g, m, r in zip(grid, middle, radii))
        lungs |= sum(gap**2 for gap in gaps) < 1
    every = case_windows(shape, None, 32, 12_000_000)

    near = windows_near(every, torch.from_numpy(lungs), 8)

    computed = np.zeros(shape, bool)
    for window in near:
        computed[tuple(map(slice, window.start, window_end(window)))] = True
    assert computed[lungs].all()
    total = sum(math.prod(window.size) for window in near)
    assert total <= 1.6 * computed.sum()


def window_end(window: CaseWindow) -> list[int]:
    return [a + side for a, side in zip(window.start, window.size)]


@pytest.mark.parametrize('shape', [(40, 90, 33), (16, 100, 100), (70, 70, 70)])
@pytest.mark.parametrize('max_voxels', [32**3, 48**3, 10**9])
def test_no_other_size_computes_fewer_voxels(
    shape: tuple[int, int, int], max_voxels: int
) -> None:
    size = fitted_size(shape, 16, max_voxels)

    def computed(size: tuple[int, ...]) -> int:
        windows = case_windows(shape, size, 16)
        return sum(math.prod(window.size) for window in windows)

    for other in itertools.product(range(32, 128, 16), repeat=3):
        if math.prod(other) <= max_voxels:
            assert computed(size) <= computed(other)
    assert math.prod(size) <= max_voxels


def test_fitted_windows_are_larger_than_their_overlap() -> None:
    with pytest.raises(ConfigError, match=r'have 48 voxels a side; give at'):
        fitted_size((100, 100, 100), 32, 40**3)

    assert fitted_size((40, 40, 40), 32, 48**3) == (48, 48, 48)
    # what is smaller than a window is one
    assert fitted_size((20, 90, 20), 32, 48**3) == (32, 96, 32)


@given(
    st.tuples(*[st.integers(0, 59)] * 3),
    st.sampled_from([0, 1, 2.5, 20]),
)
def test_windows_near_a_mask_hold_every_point_near_it(
    voxel: tuple[int, int, int], margin: float
) -> None:
    mask = torch.zeros(60, 60, 60, dtype=torch.bool)
    mask[voxel] = True
    every = case_windows(mask.shape, (32, 32, 32), 16)

    near = windows_near(every, mask, margin)

    for window in every:
        gaps = [  # from the voxel to the window's nearest one
            max(start - at, 0, at - (start + side - 1))
            for at, start, side in zip(voxel, window.start, window.size)
        ]
        if math.hypot(*gaps) <= margin:
            assert window in near
        if max(gaps) > margin + 1:
            assert window not in near


def tiny(plugin: str | None, crop: object, window: int) -> NoduleNet:
    plugins = [{'cfg': {'type': plugin}, 'position': 'after_conv2'}]
    return NoduleNet(
        {
            'type': 'FeatureNet',
            'stem_channels': 2,
            'channels': (2, 2, 2, 2, 2, 4),
            'blocks': (1,) * 6,
            'plugins': plugins if plugin else None,
        },
        {'type': 'RPN3DHead', 'in_channels': 4, 'feat_channels': 4},
        train_cfg={'crop_size': crop},
        test_cfg={'window': (window,) * 3, 'overlap': 16},
    ).eval()


@pytest.mark.parametrize(
    ('crop', 'window', 'message'),
    [
        ((32, 32, 32), 48, r'the training crops were \(32, 32, 32\)'),
        (None, 32, 'the training crops were of unknown size'),
    ],
)
def test_other_windows_than_the_training_crops_warn_of_pooling_plugins(
    crop: object, window: int, message: str
) -> None:
    case = torch.zeros(1, 40, 36, 33, dtype=torch.int16)

    with pytest.warns(UserWarning, match=message) as caught:
        tiny('QuartetAttention', crop, window).predict_case(case)

    assert 'QuartetAttention pools over the whole window' in str(
        caught[0].message
    )


@pytest.mark.parametrize('pools', [True, False])
def test_a_users_plugin_warns_if_it_pools(pools: bool) -> None:
    class Plugin(AttentionPlugin):
        name = 'plugin'
        pools_over_space = pools

        def __init__(self, in_channels: int) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    case = torch.zeros(1, 40, 36, 33, dtype=torch.int16)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        tiny(Plugin, (32, 32, 32), 48).predict_case(case)

    assert sum('Plugin pools' in str(w.message) for w in caught) == pools


@pytest.mark.parametrize(
    ('plugin', 'crop', 'window'),
    [
        ('QuartetAttention', (32, 32, 32), 32),
        ('QuartetAttention', [32, 32, 32], 32),  # as a stored config has it
        ('DropBlock3D', (32, 32, 32), 48),
        (None, (32, 32, 32), 48),
        (None, None, 48),
    ],
)
def test_windows_of_the_training_crops_size_do_not_warn(
    plugin: str | None, crop: object, window: int
) -> None:
    case = torch.zeros(1, 40, 36, 33, dtype=torch.int16)

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        tiny(plugin, crop, window).predict_case(case)
