from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import ConfigError
from lungdet.models import AttentionPlugin, NoduleNet
from lungdet.models.detectors.case_windows import (
    axis_windows,
    case_windows,
    crop_window,
    even_batches,
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
