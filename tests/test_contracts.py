"""What every registered plugin and backbone keeps to."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from lungdet.engine.input_contract import InputContract
from lungdet.errors import CheckpointError
from lungdet.models import AttentionPlugin, FeatureNet, plugins
from lungdet.models.plugins.placement import POSITIONS
from lungdet.registry import MODELS

PLUGINS = sorted(
    name
    for name, kind in MODELS.module_dict.items()
    if kind.__module__.startswith('lungdet.models.plugins')
)
CHANNELS = 6
SHAPE = (2, CHANNELS, 6, 8, 10)  # no two sides alike: a swapped axis fails
# added to the input by a last layer of zeros; gates that can start at 1
ADDED = ['GRN3D', 'GlobalContext3D', 'NonLocal3D']
OFFERED = [
    name
    for name in PLUGINS
    if 'identity_start' in inspect.signature(MODELS.get(name)).parameters
]
BACKBONES = sorted(
    name
    for name, kind in MODELS.module_dict.items()
    if kind.__module__.startswith('lungdet.models.backbones')
)
every_plugin = pytest.mark.parametrize('name', PLUGINS)


def build(name: str, **cfg: object) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build({'type': name, 'in_channels': CHANNELS, **cfg})


def filled(name: str) -> nn.Module:
    """With no parameter at zero, and ReLUs mostly open: gradients pass."""
    module = build(name)
    for value in module.parameters():
        nn.init.normal_(value, mean=0.3, std=0.5)
    return module


def net(*plugins: dict, **kwargs: object) -> FeatureNet:
    return FeatureNet(
        stem_channels=4,
        channels=(4, 6, 6, 6, 6, 8),
        blocks=(1,) * 6,
        plugins=list(plugins),
        **kwargs,
    )


def test_the_published_ones_are_all_there() -> None:
    assert {
        'CBAM3D',
        'CoordAttention3D',
        'DropBlock3D',
        'ECA3D',
        'GRN3D',
        'GlobalContext3D',
        'NonLocal3D',
        'QuartetAttention',
        'SCSE3D',
        'SE3D',
        'SimAM3D',
    } <= set(PLUGINS)


@every_plugin
def test_first_argument_and_name(name: str) -> None:
    kind = MODELS.get(name)
    _, first, *arguments = inspect.signature(kind.__init__).parameters

    assert first == 'in_channels'
    assert issubclass(kind, AttentionPlugin)
    assert kind.name.isidentifier() and kind.name == kind.name.lower()
    assert set(kind.changes_no_number) <= set(arguments)
    assert getattr(plugins, name) is kind


def test_names_of_attributes_differ() -> None:
    names = {MODELS.get(name).name for name in PLUGINS}

    assert len(names) == len(PLUGINS)


@every_plugin
def test_arguments_that_change_no_number_change_none(name: str) -> None:
    choices = {'conv_method': ('direct', 'fold', 'fft')}
    torch.manual_seed(1)
    x = torch.randn(SHAPE, dtype=torch.float64)
    module = filled(name).double().eval()
    kind = MODELS.get(name)

    for argument in kind.changes_no_number:
        for value in choices[argument]:
            other = build(name, **{argument: value}).double().eval()
            other.load_state_dict(module.state_dict())
            torch.testing.assert_close(
                other(x), module(x), rtol=1e-11, atol=1e-12
            )
            cfg = {'type': name, argument: value}
            assert kind.defining_config(cfg) == {'type': name}


@every_plugin
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_shape_and_type_are_kept_and_the_input_left_alone(
    name: str, training: bool, dtype: torch.dtype
) -> None:
    module = filled(name).to(dtype).train(training)
    x = torch.randn(SHAPE, dtype=dtype)
    before = x.clone()

    for graph in (True, False):
        with torch.set_grad_enabled(graph):
            out = module(x)
        assert out.shape == x.shape
        assert out.dtype == dtype
        assert torch.equal(x, before)
        assert x._version == 0


@every_plugin
def test_gradient_reaches_the_input_and_every_parameter(name: str) -> None:
    module = filled(name).double().train()
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)

    (module(x) * torch.randn(SHAPE)).sum().backward()

    assert (x.grad != 0).all(1).any()
    for key, value in module.named_parameters():
        assert value.grad is not None and (value.grad != 0).any(), key


@every_plugin
def test_gradient_is_the_slope(name: str) -> None:
    module = filled(name).double().eval()
    torch.manual_seed(1)
    x, way, seed = torch.randn(3, *SHAPE, dtype=torch.float64)
    x.requires_grad_()

    (slope,) = torch.autograd.grad(module(x), x, seed)

    with torch.no_grad():
        step = 1e-6 * way
        rise = ((module(x + step) - module(x - step)) * seed).sum() / 2e-6
    torch.testing.assert_close((slope * way).sum(), rise, rtol=1e-6, atol=0)


@every_plugin
def test_reloaded_state_gives_the_same_bits(name: str) -> None:
    module = filled(name).train()
    module(torch.randn(SHAPE))  # statistics move
    again = build(name)

    again.load_state_dict(module.state_dict())

    x = torch.randn(SHAPE)
    assert torch.equal(module.eval()(x), again.eval()(x))


@every_plugin
def test_memory_format_does_not_matter(name: str) -> None:
    module = filled(name).double().eval()
    x = torch.randn(SHAPE, dtype=torch.float64)

    out = module(x.contiguous(memory_format=torch.channels_last_3d))

    torch.testing.assert_close(out, module(x), rtol=1e-12, atol=1e-12)


@every_plugin
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_finite_under_autocast(name: str, dtype: torch.dtype) -> None:
    module = filled(name).train()
    # 4,096 squares of 100 sum to more than float16's 65,504
    x = (100 * torch.randn(1, CHANNELS, 16, 16, 16)).to(dtype).requires_grad_()

    with torch.autocast('cpu', dtype):
        out = module(x)
        (out.float() / 1000).mean().backward()

    assert out.dtype == dtype
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    for value in module.parameters():
        assert value.grad.isfinite().all()


@every_plugin
def test_pooling_over_space_is_declared(name: str) -> None:
    module = filled(name).double().eval()
    x = torch.randn(SHAPE, dtype=torch.float64)
    far = x.clone()
    far[:, :, 0, 0, -1] += 5  # 9 voxels from the first, kernels reach 3

    change = (module(far) - module(x))[:, :, 0, 0, 0].abs().max()

    assert bool(change > 0) == module.pools_over_space


@pytest.mark.parametrize('name', [*ADDED, *OFFERED])
def test_identity_start_is_the_identity(name: str) -> None:
    cfg = {'identity_start': True} if name in OFFERED else {}
    x = torch.randn(SHAPE)

    assert torch.equal(build(name, **cfg)(x), x)


@every_plugin
def test_a_start_as_the_identity_is_declared(name: str) -> None:
    x = torch.randn(SHAPE)

    same = torch.equal(build(name).eval()(x), x)

    assert same == MODELS.get(name).starts_as_identity
    assert same == MODELS.get(name).is_identity_when_built({})


@pytest.mark.parametrize('name', [*ADDED, 'DropBlock3D', *OFFERED])
def test_plugin_that_starts_as_the_identity_joins_trained_weights(
    name: str,
) -> None:
    cfg = {'identity_start': True} if name in OFFERED else {}
    plugin = {'cfg': {'type': name, **cfg}, 'position': 'after_add'}
    bare = InputContract((-1000, 400), (-1, 1), 1.0)
    gated = InputContract((-1000, 400), (-1, 1), 1.0, (plugin,))

    gated.check(bare, 'file', may_add=True)
    with pytest.raises(CheckpointError, match=name):
        gated.check(bare, 'file')


@every_plugin
def test_start_survives_the_backbone_s_own(name: str) -> None:
    layers = ['Conv3d', 'Conv1d', 'Linear', 'BatchNorm3d']
    cfg = {
        'type': name,
        **({'identity_start': True} if name in OFFERED else {}),
    }
    backbone = net(
        {'cfg': cfg, 'position': 'after_conv2'},
        init_cfg={'type': 'Constant', 'layer': layers, 'val': 3, 'bias': 3},
    )
    zeros = [
        (key, value)
        for key, value in backbone.named_parameters()
        if f'.{MODELS.get(name).name}.' in key
        and not value.any()
        # torch's start value of a norm is no decision of the plugin's
        and not key.endswith('bn.bias')
    ]
    assert zeros or name not in (*ADDED, *OFFERED)

    backbone.init_weights()

    assert (backbone.forw1[0].conv1.weight == 3).all()
    for key, value in zeros:
        assert not value.any(), key


@every_plugin
@pytest.mark.parametrize('position', POSITIONS)
def test_builds_and_trains_at_every_position(name: str, position: str) -> None:
    plugin = {'cfg': {'type': name}, 'position': position}
    torch.manual_seed(0)
    backbone = net(plugin).train()

    outs = backbone(torch.randn(1, 1, 32, 32, 48))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()

    attribute = MODELS.get(name).name
    held = [key for key in backbone.state_dict() if f'.{attribute}.' in key]
    assert held or not list(build(name).state_dict())
    for key, value in backbone.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), key


def parameters(name: str, channels: int) -> int:
    module: nn.Module = MODELS.build({'type': name, 'in_channels': channels})
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ('name', 'counts'),
    [
        ('QuartetAttention', (2752, 2752, 2752)),
        ('CBAM3D', (1268, 1942, 2872)),
        ('SE3D', (1096, 1640, 2184)),
        ('ECA3D', (3, 3, 5)),
        ('SCSE3D', (4257, 9457, 16705)),
        ('CoordAttention3D', (2264, 3384, 4504)),
        ('SimAM3D', (0, 0, 0)),
        ('GRN3D', (128, 192, 256)),
        ('GlobalContext3D', (2225, 4873, 8545)),
        ('NonLocal3D', (8352, 18672, 33088)),
        ('DropBlock3D', (0, 0, 0)),
    ],
)
def test_parameters_at_64_96_and_128_channels(
    name: str, counts: tuple[int, ...]
) -> None:
    assert tuple(parameters(name, c) for c in (64, 96, 128)) == counts


@pytest.mark.parametrize(
    ('name', 'count'), [('QuartetAttention', 44_032), ('CBAM3D', 24_264)]
)
def test_parameters_of_all_sixteen_blocks(name: str, count: int) -> None:
    plugin = {'cfg': {'type': name}, 'position': 'after_conv2'}

    full = FeatureNet(plugins=[plugin])

    assert sum(p.numel() for p in full.parameters()) == 5_346_872 + count


@pytest.mark.parametrize('name', BACKBONES)
def test_a_backbone_gives_the_maps_that_heads_read(name: str) -> None:
    backbone = MODELS.build({'type': name}).eval()

    out1, out2, comb2 = backbone(torch.randn(2, 1, 32, 48, 64))

    assert out1.shape[2:] == (16, 24, 32)
    assert out2.shape[2:] == comb2.shape[2:] == (8, 12, 16)
    channels = [out.shape[1] for out in (out1, out2, comb2)]
    assert channels == [32, 64, 128]  # what the heads take by default
