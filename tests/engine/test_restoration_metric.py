from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.engine import RestorationMetric


def sample(
    restored: np.ndarray,
    target: np.ndarray,
    corrupted: np.ndarray,
    **options: object,
) -> dict:
    shape = restored.shape
    return {
        'restored': torch.from_numpy(restored).float(),
        'target': torch.from_numpy(target).float(),
        'corrupted': torch.from_numpy(corrupted).float(),
        'masked': torch.zeros(shape, dtype=torch.bool),
        'painting': 'none',
        'loss': 'l1',
        'loss_on': 'all',
        'sample_key': 'a',
        **options,
    }


def evaluate(*samples: dict) -> dict[str, float]:
    metric = RestorationMetric()
    for one in samples:  # one batch each
        metric.process(None, [one])
    return {
        k.removeprefix('restore/'): v
        for k, v in metric.evaluate(len(samples)).items()
    }


def test_numbers_are_those_of_all_voxels_at_once(
    rng: np.random.Generator,
) -> None:
    """Oracle: numpy on everything, concatenated."""
    volumes = [rng.random((3, 3, 4, 5)) for _ in range(3)]
    volumes[1][0, 0] = 0.001
    samples = [
        sample(*volume, sample_key=str(k)) for k, volume in enumerate(volumes)
    ]

    metrics = evaluate(*samples)

    restored, target, corrupted = np.stack(volumes, 1).reshape(3, -1)
    error = np.abs(restored - target)
    median = np.median(target)
    assert metrics['l1'] == pytest.approx(error.mean(), rel=1e-5)
    assert metrics['mse'] == pytest.approx((error**2).mean(), rel=1e-5)
    assert metrics['vs_copy'] == pytest.approx(
        error.mean() / np.abs(corrupted - target).mean(), rel=1e-5
    )
    assert metrics['vs_constant'] == pytest.approx(
        error.mean() / np.abs(target - median).mean(), rel=1e-3
    )
    assert metrics['spread'] == pytest.approx(
        restored.std() / target.std(), rel=1e-5
    )
    assert metrics['saturated'] == pytest.approx(
        ((restored < 0.01) | (restored > 0.99)).mean()
    )


def test_squared_error_is_compared_with_the_mean(
    rng: np.random.Generator,
) -> None:
    restored, target, corrupted = rng.random((3, 4, 5, 6))

    metrics = evaluate(sample(restored, target, corrupted, loss='mse'))

    assert metrics['vs_constant'] == pytest.approx(
        np.square(restored - target).mean() / target.var(), rel=1e-5
    )
    assert metrics['vs_copy'] == pytest.approx(
        np.square(restored - target).mean()
        / np.square(corrupted - target).mean(),
        rel=1e-5,
    )


def test_hidden_voxels_alone_count_for_an_autoencoder() -> None:
    target = np.array([[[0.2, 0.4, 0.6, 0.8]]])
    restored = np.array([[[0.9, 0.9, 0.5, 0.5]]])
    masked = torch.tensor([[[False, False, True, True]]])

    metrics = evaluate(
        sample(restored, target, target, masked=masked, loss_on='masked')
    )

    # errors 0.1 and 0.3; the constant 0.6 or 0.8 leaves 0 and 0.2
    assert metrics['l1'] == pytest.approx(0.2, rel=1e-5)
    assert metrics['vs_constant'] == pytest.approx(2.0, rel=5e-3)
    assert metrics['spread'] == 0


def test_errors_inside_and_outside_of_each_painting() -> None:
    target = np.zeros((1, 1, 4))
    restored = np.array([[[0.1, 0.2, 0.4, 0.8]]])
    first = torch.tensor([[[True, False, False, False]]])
    most = torch.tensor([[[False, True, True, True]]])

    metrics = evaluate(
        sample(restored, target, target, masked=first, painting='in'),
        sample(
            restored,
            target,
            target,
            masked=most,
            painting='out',
            sample_key='b',
        ),
        sample(restored, target, target, sample_key='c'),
    )

    assert metrics['l1_inside_in'] == pytest.approx(0.1)
    assert metrics['l1_outside_in'] == pytest.approx(1.4 / 3)
    assert metrics['l1_inside_out'] == pytest.approx(1.4 / 3)
    assert metrics['l1_outside_out'] == pytest.approx(0.1)
    assert metrics['l1'] == pytest.approx(1.5 / 4)
    assert not [key for key in metrics if key.endswith('none')]


def test_what_no_voxel_was_scored_for_is_left_out() -> None:
    target = np.array([[[0.2, 0.4]]])
    everywhere = torch.ones(1, 1, 2, dtype=torch.bool)

    none = evaluate(sample(target, target, target, loss_on='masked'))
    metrics = evaluate(
        sample(target, target, target, masked=everywhere, painting='out')
    )

    assert none == {}
    assert metrics['l1_inside_out'] == 0 and 'l1_outside_out' not in metrics


def test_a_crop_counts_once(rng: np.random.Generator) -> None:
    volumes = rng.random((2, 3, 3, 4, 5))
    one, two = (
        sample(*volume, sample_key=str(k)) for k, volume in enumerate(volumes)
    )

    assert evaluate(one, two, two) == evaluate(two, one)
