from __future__ import annotations

import itertools

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models import GenesisPretrainer
from lungdet.models.ssl.genesis import feature_rank, high_pass
from lungdet.ops import computes_bfloat16
from lungdet.registry import MODELS
from tests.models.ssl.toys import VECTORS, num_parameters, samples

NARROW = {
    'type': 'FeatureNet',
    'stem_channels': 4,
    'channels': (4, 8, 8, 8, 8, 8),
    'blocks': (1,) * 6,
}
HEAD = {'type': 'RestorationHead', 'in_channels': 8, 'channels': (8, 4)}


@pytest.fixture(autouse=True)
def scope() -> object:
    with DefaultScope.overwrite_default_scope('lungdet'):
        yield


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

    assert model.backbone.received.flatten().tolist() == [-1.0, -0.5, 1.0]
    # constant 0.25: errors 0, 0.5, 0; of the masked one alone 0.5
    assert losses['loss_restoration'].item() == pytest.approx(0.5 / 3)
    assert losses['spread'] == 0
    only = echo(loss_on='masked', loss={'type': 'MSELoss'})
    losses = only(inputs, targets, masked, mode='loss')
    assert losses['loss_restoration'].item() == pytest.approx(0.25)
    with pytest.raises(ConfigError, match="loss_on='painted'"):
        echo(loss_on='painted')


def test_predictions_lie_in_their_samples() -> None:
    model = echo(loss={'type': 'MSELoss'}, loss_on='masked').eval()
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

    assert num_parameters(model.backbone) == VECTORS['counts']['featurenet']
    assert [n.removeprefix('backbone.') for n in names] == list(
        detector.state_dict()
    )


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


def test_bright_voxels_in_the_lungs_weigh_more() -> None:
    """Restored is 0.25 everywhere; -500 HU is 0.389 of the window."""
    targets = torch.tensor([0.75, 0.75, 0.25, 0.4]).reshape(1, 1, 1, 1, 4)
    lungs = torch.tensor([True, False, True, True]).reshape(1, 1, 1, 1, 4)
    masked = torch.tensor([True, True, False, False]).reshape(1, 1, 1, 1, 4)
    for options, expected in (
        ({}, (0.5 + 0.5 + 0 + 0.15) / 4),
        ({'bright_weight': 5.0}, (2.5 + 0.5 + 0 + 0.75) / 12),
        (
            {'bright_weight': 5.0, 'bright_hu': -400.0},
            (2.5 + 0.5 + 0 + 0.15) / 8,
        ),
        ({'bright_weight': 5.0, 'loss_on': 'masked'}, (2.5 + 0.5) / 6),
    ):
        losses = echo(**options)(
            targets, targets, masked, mode='loss', lungs=lungs
        )
        got = losses['loss_restoration'].item()
        assert got == pytest.approx(expected), options


def test_high_pass_leaves_what_differs_from_the_cube_around() -> None:
    """Against a loop; planes vanish inside, steps and single voxels stay."""
    volume = torch.rand(1, 2, 5, 6, 7, dtype=torch.float64)

    details = high_pass(volume, 3)

    for z, y, x in itertools.product(range(5), range(6), range(7)):
        cube = volume[
            ...,
            max(z - 1, 0) : z + 2,
            max(y - 1, 0) : y + 2,
            max(x - 1, 0) : x + 2,
        ]
        expected = volume[..., z, y, x] - cube.mean((2, 3, 4))
        assert torch.allclose(details[..., z, y, x], expected)
    plane = torch.arange(9.0).expand(1, 1, 9, 9, 9)
    assert high_pass(plane, 5)[..., 2:-2].abs().max() < 1e-5
    assert high_pass(torch.full_like(plane, 0.3), 5).abs().max() < 1e-6


def test_only_details_are_restored_with_a_high_pass() -> None:
    model = echo(high_pass=3, loss={'type': 'MSELoss'})
    smooth = torch.linspace(0, 0.5, 9).expand(1, 1, 9, 9, 9)[..., 1:-1]
    dots = 0.4 * (torch.rand(1, 1, 9, 9, 7) > 0.9)
    masked = torch.zeros_like(dots, dtype=torch.bool)

    losses = model(smooth, smooth + dots, masked, mode='loss')

    # the constant's residual is 0, so the error is that of the target's
    residual = high_pass(smooth + dots, 3) / 2
    mse = residual.square().mean().item()
    assert losses['loss_restoration'].item() == pytest.approx(mse, rel=1e-5)
    assert losses['spread'] < 1e-5
    (sample,) = model.eval()(
        smooth, smooth + dots, masked, samples(1), mode='predict'
    )
    assert torch.allclose(sample.restored, torch.tensor(0.5))
    assert torch.allclose(sample.target, 0.5 + residual[0, 0])
    for volume in (sample.corrupted, sample.target):
        assert 0 <= volume.min() and volume.max() <= 1
    with pytest.raises(ConfigError, match='high_pass=4 is even'):
        echo(high_pass=4)


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
