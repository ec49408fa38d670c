"""Names in configs: only registered ones, and errors with the closest."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_SCHEDULERS
from mmengine.registry import DefaultScope

from lungdet.errors import ConfigError
from lungdet.registry import (
    DATASETS,
    HOOKS,
    LOOPS,
    MODELS,
    OPTIMIZERS,
    LungdetRegistry,
    argument_names,
    build_model,
    patch_mmengine_build,
)


def test_importing_the_registries_leaves_mmengine_as_it_is() -> None:
    code = (
        'from mmengine.registry import HOOKS, MODELS\n'
        'before = HOOKS.build_func, MODELS.build_func\n'
        'import lungdet.registry\n'
        'assert (HOOKS.build_func, MODELS.build_func) == before\n'
        'lungdet.registry.patch_mmengine_build()\n'
        'once = HOOKS.build_func, MODELS.build_func\n'
        'assert once[0] is not before[0] and once[1] is not before[1]\n'
        'lungdet.registry.patch_mmengine_build()\n'
        'assert (HOOKS.build_func, MODELS.build_func) == once\n'
    )

    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_a_model_needs_no_scope_around_it() -> None:
    with DefaultScope.overwrite_default_scope('mmengine'):
        model = build_model({'type': 'FeatureNet'})
    assert sum(p.numel() for p in model.parameters()) > 1000
    with pytest.raises(ConfigError, match="did you mean 'FeatureNet'"):
        build_model({'type': 'FeatureNett'})


def test_no_name_imports_a_module() -> None:
    for registry in (MODELS, HOOKS, LOOPS):
        assert registry.get('subprocess.getoutput') is None
        assert registry.get('torch.nn.Linear') is None
    assert MODELS.get('lungdet.FeatureNet') is MODELS.get('FeatureNet')
    assert OPTIMIZERS.get('mmengine.SGD') is torch.optim.SGD
    # a class that a config of one's own holds is not looked up
    built = MODELS.build({'type': torch.nn.ReLU, 'inplace': True})
    assert isinstance(built, torch.nn.ReLU)


@pytest.mark.parametrize(
    ('registry', 'cfg', 'message'),
    [
        (MODELS, {'type': 'FeatureNett'}, "did you mean 'FeatureNet'"),
        (
            MODELS,
            {'type': 'FeatureNet', 'chanels': 3},
            "FeatureNet: has no argument 'chanels' .*'channels'",
        ),
        (
            DATASETS,
            {'type': 'LUNA16Dataset', 'background_rato': 1},
            "no argument 'background_rato' .*'background_ratio'",
        ),
        (HOOKS, {'type': 'StopOnNanHook'}, "did you mean 'StopOnNaNHook'"),
        (LOOPS, {'type': 'ExactEpochLoop', 'max_epoch': 3}, "'max_epochs'"),
        (MODELS, {'type': 'MaskedAutoencoder', 'wndow': 3}, 'no argument'),
        (MODELS, {'type': torch.nn.ReLU, 'inplac': 3}, "'inplace'"),
    ],
)
def test_wrong_name_gets_the_closest_one(
    registry: object, cfg: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.build(cfg)


def test_so_does_what_the_runner_builds_through_mmengines_registries() -> None:
    patch_mmengine_build()
    model = torch.nn.Linear(1, 1)
    with DefaultScope.overwrite_default_scope('lungdet'):
        with pytest.raises(ConfigError, match="'max_keep'"):
            ROOT_HOOKS.build({'type': 'LungCheckpointHook', 'max_kep': 1})
        with pytest.raises(ConfigError, match="'momentum'"):
            build_optim_wrapper(
                model,
                {
                    'type': 'OptimWrapper',
                    'optimizer': {'type': 'SGD', 'lr': 1, 'momentm': 0.9},
                },
            )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ConfigError, match="'milestones'"):
            ROOT_SCHEDULERS.build(
                {'type': 'MultiStepLR', 'milestone': [2]},
                default_args={'optimizer': optimizer},
            )


def test_other_scopes_keep_mmengines_own_errors() -> None:
    patch_mmengine_build()
    with DefaultScope.overwrite_default_scope('mmengine'):
        with pytest.raises(TypeError, match='unexpected keyword'):
            ROOT_HOOKS.build({'type': 'SyncBuffersHook', 'x': 1})


class Base:
    def __init__(self, a: int, *, b: int = 0) -> None:
        pass


class Passing(Base):
    def __init__(self, c: int, **kwargs: int) -> None:
        super().__init__(**kwargs)


def anything(a: int, **options: int) -> None:
    pass


def test_arguments_by_hand() -> None:
    assert argument_names(Base) == ['a', 'b']
    assert argument_names(Passing) == ['c', 'a', 'b']
    assert argument_names(anything) is None
    assert argument_names(type('Bare', (), {})) == []


@pytest.mark.parametrize(
    ('registry', 'cfg', 'message'),
    [
        (MODELS, {'type': 'NoduleNet'}, "^NoduleNet: lacks 'backbone' and"),
        (MODELS, {'type': 'SE3D'}, "^SE3D: lacks 'in_channels', which has no"),
        (
            DATASETS,
            {'type': 'LUNA16Dataset', 'data_root': 'x', 'split': 'test'},
            "^LUNA16Dataset: lacks 'pipeline'.*dict with type='LUNA16Dataset'",
        ),
    ],
)
def test_argument_that_a_class_needs_is_named(
    registry: LungdetRegistry, cfg: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.build(cfg)


def test_faults_in_the_code_of_a_class_stay_tracebacks() -> None:
    class Faulty:
        def __init__(self) -> None:
            torch.nn.Conv3d()  # type: ignore[call-arg]

    with pytest.raises(TypeError, match='Conv3d'):
        MODELS.build({'type': Faulty})
