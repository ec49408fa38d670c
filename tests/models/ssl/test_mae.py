from __future__ import annotations

import numpy as np
import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import MaskedAutoencoder
from tests.models.ssl.toys import VECTORS, samples


def autoencoder(**options: object) -> MaskedAutoencoder:
    return MaskedAutoencoder({'type': 'Echo'}, {'type': 'EchoHead'}, **options)


@pytest.mark.parametrize(
    ('sides', 'blocks', 'hidden'),
    [
        (VECTORS['masked']['volume'][1:], 64, VECTORS['masked']['masked']),
        ([32, 64, 64], *VECTORS['masked']['other']['32x64x64']),
        ([96] * 3, *VECTORS['masked']['other']['96^3']),
        ([128] * 3, *VECTORS['masked']['other']['128^3']),
    ],
)
def test_masks_hide_whole_blocks_of_a_fixed_grid(
    sides: list[int], blocks: int, hidden: int
) -> None:
    model = autoencoder(block=VECTORS['masked']['block'])

    mask = model.draw_mask(np.random.default_rng(0), sides)

    assert list(mask.shape) == sides
    grid = mask.unfold(0, 16, 16).unfold(1, 16, 16).unfold(2, 16, 16)
    hidden_part = grid.float().mean((3, 4, 5))
    assert hidden_part.numel() == blocks
    assert set(hidden_part.unique().tolist()) == {0.0, 1.0}
    assert hidden_part.sum() == hidden
    other = model.draw_mask(np.random.default_rng(1), sides)
    assert not torch.equal(mask, other)


def test_every_block_is_hidden_as_often() -> None:
    model = autoencoder()
    hits = torch.zeros(32, 32, 32)
    for seed in range(400):
        hits += model.draw_mask(np.random.default_rng(seed), (32, 32, 32))

    # 6 of 8 blocks: rate 0.75, standard error 0.022
    assert (hits / 400 - 0.75).abs().max() < 4.5 * 0.022


@pytest.mark.parametrize(
    ('fill', 'value'), [('mean', 0.4), ('zero', 0.0), (0.7, 0.7)]
)
def test_hidden_blocks_are_filled_and_the_others_kept(
    fill: str | float, value: float
) -> None:
    model = autoencoder(fill=fill)
    model.set_data_mean(0.4)
    targets = torch.rand(2, 1, 32, 32, 48) * 0.1 + 0.15

    inputs, masked = model.hide(targets, samples(2))

    assert torch.equal(inputs[~masked], targets[~masked])
    assert torch.allclose(inputs[masked], torch.tensor(value))
    # 2 * 2 * 3 = 12 blocks, 9 hidden
    assert masked.float().mean() == 9 / 12
    again = model.hide(targets, samples(2))
    assert torch.equal(inputs, again[0])
    assert not torch.equal(masked[0], masked[1])
    # the network sees the fill in its range
    model(targets, targets, masked, samples(2), mode='loss')
    received = model.backbone.received[masked]
    assert torch.allclose(received, torch.tensor(2 * value - 1), atol=1e-6)


def test_hiding_leaves_crops_and_samples_alone() -> None:
    model, given = autoencoder(), samples(1)
    targets = torch.rand(1, 1, 32, 32, 32)
    before = targets.clone()

    model.hide(targets, given)

    assert torch.equal(targets, before)
    assert given[0].metainfo == samples(1)[0].metainfo
    # what a metric is told of: which painting its regions are
    (sample,) = model(targets, targets, None, given, mode='predict')
    assert sample.painting == 'hidden'


def test_noise_fills_uniformly() -> None:
    model = autoencoder(fill='noise')
    targets = torch.full((1, 1, 64, 64, 64), 2.0)

    inputs, masked = model.hide(targets, samples(1))

    noise = inputs[masked]
    assert 0 <= noise.min() and noise.max() < 1
    # 196,608 values of standard deviation 0.289
    assert noise.mean() == pytest.approx(0.5, abs=4.5 * 0.289 / 443)
    assert noise.std() == pytest.approx(12**-0.5, abs=0.002)


def test_loss_counts_the_hidden_voxels_alone() -> None:
    model = autoencoder(loss={'type': 'L1Loss'})
    targets = torch.rand(1, 1, 32, 32, 32)
    _, masked = model.hide(targets, samples(1))
    shifted = torch.where(masked, targets, targets + 0.3)

    first, second = (
        model(t, t, masked, samples(1), mode='loss')['loss_restoration']
        for t in (targets, shifted)
    )

    assert first == second
    assert first.item() == pytest.approx(
        float((targets[masked] - 0.25).abs().mean()), rel=1e-5
    )


@pytest.mark.parametrize(
    ('options', 'sides', 'message'),
    [
        ({}, (32, 40, 32), r'32, 40, 32.*block=16'),
        ({'mask_ratio': 0.1}, (16, 16, 32), 'hides none'),
    ],
)
def test_masks_that_cannot_be_are_refused(
    options: dict, sides: tuple, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        autoencoder(**options).draw_mask(np.random.default_rng(0), sides)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'mask_ratio=1\.5'):
        autoencoder(mask_ratio=1.5)
    for fill in ('median', 1.5):
        with pytest.raises(ConfigError, match='fill='):
            autoencoder(fill=fill)


@pytest.mark.parametrize('value', ['all', 'masked'])
def test_the_loss_is_of_hidden_blocks_alone(value: str) -> None:
    with pytest.raises(ConfigError, match=f"loss_on='{value}' cannot be cho"):
        autoencoder(loss_on=value)
