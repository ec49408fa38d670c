from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.hounsfield import Window
from lungdet.models import (
    CTDataPreprocessor,
    GenesisPretrainer,
    MaskedAutoencoder,
    RestorationHead,
    RestorationPreprocessor,
)
from lungdet.models.losses import restoration_loss
from lungdet.models.ssl.genesis import feature_rank
from lungdet.ops import computes_bfloat16
from lungdet.registry import MODELS

VECTORS = json.loads(
    (Path(__file__).parents[1] / 'data/ssl_attention_vectors.json').read_text()
)
NARROW = {
    'type': 'FeatureNet',
    'stem_channels': 4,
    'channels': (4, 8, 8, 8, 8, 8),
    'blocks': (1,) * 6,
}
HEAD = {'type': 'RestorationHead', 'in_channels': 8, 'channels': (8, 4)}


@MODELS.register_module(force=True)
class Echo(nn.Module):
    """A backbone that hands on what enters it, at stride 4."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        self.seen = x
        return (x,)


@MODELS.register_module(force=True)
class EchoHead(nn.Module):
    """Restores a constant."""

    def __init__(self, value: float = 0.25) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def set_mean(self, mean: Tensor) -> None:
        self.value.data.copy_(mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape)


@pytest.fixture(autouse=True)
def scope() -> object:
    with DefaultScope.overwrite_default_scope('lungdet'):
        yield


def samples(num: int, **meta: object) -> list[DetDataSample]:
    meta = {'window': (-1200.0, 600.0), 'sample_key': 'a', **meta}
    return [
        DetDataSample(metainfo={'mask_seed': seed, **meta})
        for seed in range(num)
    ]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_head_has_the_published_size() -> None:
    counts = VECTORS['counts']

    assert count(RestorationHead()) == counts['restoration_head_128_64_64_1']
    narrow = RestorationHead(channels=(64, 32))
    assert count(narrow) == counts['restoration_head_128_64_32_1'] == 82_241
    with pytest.raises(ConfigError, match='2 levels'):
        RestorationHead(channels=(64,))


def test_head_restores_the_full_size_in_unit_range() -> None:
    head = RestorationHead(8, (6, 4)).eval()

    out = head(torch.randn(2, 8, 2, 3, 4) * 50)

    assert out.shape == (2, 1, 8, 12, 16)
    assert 0 <= out.min() and out.max() <= 1 and out.dtype == torch.float32
    # each output voxel depends on its own cell of stride 4 alone
    x = torch.zeros(1, 8, 2, 3, 4)
    changed = x.clone()
    changed[0, :, 1, 0, 2] = 5.0
    differs = (head(changed) != head(x))[0, 0].nonzero()
    assert differs.min(0).values.tolist() == [4, 0, 8]
    assert differs.max(0).values.tolist() == [7, 3, 11]


def test_head_starts_at_the_mean_of_the_data() -> None:
    head = RestorationHead(8, (6, 4))
    nn.init.zeros_(head.out.weight)

    head.set_mean(torch.tensor(0.3))
    assert torch.allclose(head(torch.rand(2, 8, 2, 2, 2)), torch.tensor(0.3))
    head.set_mean(torch.tensor(0.0))  # not minus infinity
    assert head.out.bias.item() == pytest.approx(np.log(0.01 / 0.99))


def test_losses_over_all_and_over_a_region() -> None:
    restored = torch.tensor([0.0, 0.5, 1.0, 0.2])
    target = torch.tensor([0.5, 0.5, 0.0, 0.0])
    region = torch.tensor([True, False, True, False])

    # |errors| 0.5, 0, 1, 0.2; squares 0.25, 0, 1, 0.04
    assert restoration_loss(restored, target) == pytest.approx(1.7 / 4)
    assert restoration_loss(restored, target, 'mse') == pytest.approx(1.29 / 4)
    masked = restoration_loss(restored, target, region=region)
    assert masked == pytest.approx(1.5 / 2)
    square = restoration_loss(restored, target, 'mse', region=region)
    assert square == pytest.approx(1.25 / 2)
    nowhere = restoration_loss(restored, target, region=region & False)
    assert nowhere == 0


def echo(**options: object) -> GenesisPretrainer:
    return GenesisPretrainer(
        {'type': 'Echo'},
        {'type': 'EchoHead'},
        data_preprocessor={
            'type': 'RestorationPreprocessor',
            'out_range': (-1, 1),
        },
        **options,
    )


def test_network_sees_the_detectors_range_and_the_target_stays() -> None:
    model = echo()
    inputs = torch.tensor([0.0, 0.25, 1.0]).reshape(1, 1, 1, 1, 3)
    targets = torch.tensor([0.25, 0.75, 0.25]).reshape(1, 1, 1, 1, 3)
    masked = torch.tensor([False, True, False]).reshape(1, 1, 1, 1, 3)

    losses = model(inputs, targets, masked, mode='loss')

    assert model.backbone.seen.flatten().tolist() == [-1.0, -0.5, 1.0]
    # constant 0.25: errors 0, 0.5, 0; of the masked one alone 0.5
    assert losses['loss_restoration'].item() == pytest.approx(0.5 / 3)
    assert losses['spread'] == 0
    only = echo(loss_on='masked', loss='mse')
    losses = only(inputs, targets, masked, mode='loss')
    assert losses['loss_restoration'].item() == pytest.approx(0.25)
    with pytest.raises(ConfigError, match="loss='L1'"):
        echo(loss='L1')
    with pytest.raises(ConfigError, match="loss_on='painted'"):
        echo(loss_on='painted')


def test_detection_and_pretraining_scale_alike() -> None:
    """Detection's range is twice the normalized intensity minus one."""
    hu = torch.arange(-1300, 800, dtype=torch.int16)
    window = (-1200, 600)
    detector = CTDataPreprocessor(window=window)
    restorer = RestorationPreprocessor(window=window)

    intensity = Window(*window).normalize(hu)

    expected = np.clip((np.arange(-1300, 800) + 1200) / 1800, 0, 1)
    np.testing.assert_allclose(intensity.numpy(), expected, atol=1e-7)
    network = restorer.to_network(intensity)
    assert torch.equal(network, detector.apply_window(hu))


def test_crops_of_another_window_are_refused_with_both_values() -> None:
    restorer = RestorationPreprocessor(window=(-1000, 400))
    crop = torch.zeros(1, 2, 2, 2)
    batch = {name: [crop] for name in ('inputs', 'targets', 'masked')}

    with pytest.raises(ConfigError, match=r'-1200.*600.*-1000.*400'):
        restorer({**batch, 'data_samples': samples(1)}, True)


def test_predictions_lie_in_their_samples() -> None:
    model = echo(loss='mse', loss_on='masked').eval()
    inputs, targets = torch.rand(2, 2, 1, 3, 4, 5)
    masked = torch.rand(2, 1, 3, 4, 5) > 0.5

    out = model(inputs, targets, masked, samples(2), mode='predict')

    for k, sample in enumerate(out):
        assert torch.equal(sample.corrupted, inputs[k, 0])
        assert torch.equal(sample.target, targets[k, 0])
        assert torch.equal(sample.masked, masked[k, 0])
        assert sample.restored.eq(0.25).all()
        assert (sample.loss, sample.loss_on) == ('mse', 'masked')


@pytest.mark.parametrize('channels_last', [False, True])
def test_every_parameter_learns(channels_last: bool) -> None:
    model = GenesisPretrainer(NARROW, HEAD, channels_last=channels_last)
    inputs, targets = torch.rand(2, 2, 1, 32, 32, 48)

    loss = model(inputs, targets, inputs > 2, mode='loss')['loss_restoration']
    loss.backward()

    assert {n for n, p in model.named_parameters() if p.grad is None} == set()
    lost = {
        name for name, p in model.named_parameters() if p.grad.abs().max() == 0
    }
    assert lost == set()


def test_backbone_keeps_the_detectors_names() -> None:
    model = GenesisPretrainer({'type': 'FeatureNet'})
    detector = MODELS.build({'type': 'FeatureNet'})

    names = [n for n in model.state_dict() if n.startswith('backbone.')]

    assert count(model.backbone) == VECTORS['counts']['featurenet']
    assert [n.removeprefix('backbone.') for n in names] == list(
        detector.state_dict()
    )


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
    share = grid.float().mean((3, 4, 5))
    assert share.numel() == blocks
    assert set(share.unique().tolist()) == {0.0, 1.0}
    assert share.sum() == hidden
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
def test_hidden_blocks_are_filled_and_the_rest_is_seen(
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
    # the network sees the fill in its own range
    model(targets, targets, masked, samples(2), mode='loss')
    seen = model.backbone.seen[masked]
    assert torch.allclose(seen, torch.tensor(2 * value - 1), atol=1e-6)


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
    model = autoencoder(loss='l1')
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
        ({'ratio': 0.1}, (16, 16, 32), 'hides none'),
    ],
)
def test_masks_that_cannot_be_are_refused(
    options: dict, sides: tuple, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        autoencoder(**options).draw_mask(np.random.default_rng(0), sides)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'ratio=1\.5'):
        autoencoder(ratio=1.5)
    for fill in ('median', 1.5):
        with pytest.raises(ConfigError, match='fill='):
            autoencoder(fill=fill)


def test_bfloat16_restores_like_float32() -> None:
    torch.manual_seed(0)
    model = GenesisPretrainer(NARROW, HEAD, test_cfg={'bf16': True}).eval()
    inputs = torch.rand(1, 1, 32, 32, 32)

    (sample,) = model(inputs, inputs, inputs > 2, samples(1), mode='predict')

    assert sample.restored.dtype == torch.float32
    exact = model(inputs)[0, 0]
    # without its arithmetic the CPU computes float32, not an emulation
    same = torch.equal(sample.restored, exact)
    assert same != computes_bfloat16('cpu')
    # eight bits of mantissa through ten layers
    assert torch.allclose(sample.restored, exact, atol=0.02)


def test_feature_rank_counts_directions() -> None:
    """Against the eigenvalues; what is known of alike and of free channels."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(2, 3, 8, 8, 8, generator=generator)
    one, other, third = base.unbind(1)
    alike = torch.stack([one, 2 * one - 5, -one], dim=1)
    mixed = torch.stack([one, other, one + 0.3 * third], dim=1)
    constant = torch.stack([one, other, torch.full_like(one, 7.0)], dim=1)

    matrix = torch.corrcoef(mixed.transpose(0, 1).flatten(1).double())
    values = torch.linalg.eigvalsh(matrix)
    assert feature_rank(mixed).item() == pytest.approx(
        (values.sum() ** 2 / values.square().sum()).item(), rel=1e-5
    )
    assert feature_rank(alike).item() == pytest.approx(1, abs=1e-4)
    assert feature_rank(base).item() == pytest.approx(3, abs=0.05)
    assert feature_rank(constant).item() == pytest.approx(2, abs=0.05)
    assert feature_rank(torch.ones(1, 2, 4, 4, 4)) == 0


@MODELS.register_module(force=True)
class DoubleHead(nn.Module):
    """Restores twice what the backbone gives."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_spread_is_relative_to_the_targets() -> None:
    model = GenesisPretrainer({'type': 'Echo'}, {'type': 'DoubleHead'})
    inputs = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 1, 3)

    # the network sees -1, 0, 1 and gives -2, 0, 2: deviation 2
    for target, spread in ((inputs, 4.0), (8 * inputs, 0.5)):
        losses = model(inputs, target, inputs > 2, mode='loss')
        assert losses['spread'].item() == pytest.approx(spread)
