"""Networks that take the same tensors and compute something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.engine.network_contract import (
    DEFAULT_PARTS,
    network_caveats,
    network_differences,
    network_values,
)
from lungdet.engine.release import shipped_release
from lungdet.errors import CheckpointError
from lungdet.models import NoduleNet
from lungdet.registry import MODELS, build_model
from tests.engine.runs import NO_VALIDATION

CONFIGS = Path(__file__).parents[2] / 'configs'
SILU = {'+model.backbone.act_cfg.type': 'SiLU'}
ANCHORS = {'model.rpn_head.anchor_generator.sizes': (4, 9, 15, 30)}
ONCE = {**NO_VALIDATION, 'train_cfg.max_epochs': 1}


def network(**options: Any) -> dict[str, Any]:
    """The small detector's config with values of other dotted keys."""
    added = {f'+model.{k.replace("__", ".")}': v for k, v in options.items()}
    config = load_config(CONFIGS / 'lungdet_s.py', added)
    return config.model.to_dict()


@pytest.mark.parametrize(
    ('key', 'value', 'was'),
    [
        ('rpn_head.anchor_generator.sizes', (10, 16, 26, 44), '[5, 8, 13'),
        ('rpn_head.anchor_generator.stride', 8, '4'),
        ('rpn_head.bbox_coder.weights', (2,) * 6, '[1.0,'),
        ('rpn_head.act_cfg.type', 'SiLU', "'ReLU'"),
        ('backbone.act_cfg.type', 'SiLU', "'ReLU'"),
        ('backbone.norm_cfg', {'type': 'BN3d', 'eps': 0.1}, '1e-05'),
        ('box_border', 8, '0'),
        ('data_preprocessor.pad_hu', -1200, '0'),
        ('roi_head.border', 0, '8'),
        ('roi_head.bbox_roi_extractor.type', 'RoIAlign3D', "'RoICrop3D'"),
        ('roi_head.bbox_head.bbox_coder.max_dlog', 1.0, '4.0'),
        ('roi_head.mask_head.type', 'PublishedMask3DHead', "'Mask3DHead'"),
    ],
)
def test_what_a_network_computes_is_compared(
    key: str, value: Any, was: str
) -> None:
    other = network(**{key: value})

    ((name, text),) = network_differences(network(), other).items()

    assert name.startswith(f'model.{key}')
    assert text.startswith(f'{name} was {was}') and ' and is ' in text


def test_what_changes_no_output_is_not_compared() -> None:
    """Training, speed, defaults that are written out, and what the input
    contract has."""
    other = network(
        channels_last=False,
        box_border=0.0,
        init_cfg={'type': 'Normal', 'layer': 'Conv3d'},
        test_cfg__max_voxels=10**6,
        train_cfg__mask__max_pos=9,
        data_preprocessor__window=(-1000, 400),
        backbone__plugins=[{'cfg': {'type': 'GRN3D'}}],
        backbone__zero_init_last=True,
        backbone__norm_cfg={'type': 'SyncBN', 'momentum': 0.5},
        backbone__act_cfg={'type': 'ReLU', 'inplace': False},
        backbone__blocks=(2, 2, 3, 3, 3, 3),
        rpn_head__act_cfg={'type': 'ReLU'},
        rpn_head__prior=0.5,
        rpn_head__loss_cls={'type': 'FocalLoss3D', 'gamma': 1.0},
        roi_head__mask_head__loss_mask__loss_weight=9.0,
        roi_head__mask_head__max_voxels=10**6,
    )

    assert not network_differences(network(), other)
    assert not network_differences(other, network())


def test_parts_that_one_network_lacks_are_left_out() -> None:
    """Their tensors tell, and a checkpoint may say little of its network."""
    other = network()
    other['roi_head'] = None

    assert not network_differences(network(), other)
    assert not network_differences(other, network())
    assert not network_differences({}, network())


def test_a_class_of_ones_own_may_stand_for_the_trained_one() -> None:
    class Quiet(NoduleNet):
        """Differs in what it does with its boxes."""

    MODELS.register_module(module=Quiet)
    other = network() | {'type': 'Quiet'}
    try:
        assert not network_differences(network(), other)
        # not the other way round: weights of an unknown network
        assert [*network_differences(other, network())] == ['model.type']
    finally:
        MODELS.module_dict.pop('Quiet')


def test_released_weights_fit_the_config_of_their_training() -> None:
    stored = read_checkpoint(shipped_release())['meta']['model']

    assert network_values(stored)
    assert not network_differences(stored, network())


def test_members_of_an_ensemble_are_compared() -> None:
    def ensemble(*members: dict) -> dict[str, Any]:
        return {'type': 'EnsembleDetector', 'members': list(members)}

    trained = ensemble(network(), network(box_border=8))

    (key,) = network_differences(trained, ensemble(network(), network()))

    assert key == 'model.members.1.box_border'


def test_defaults_of_parts_are_those_of_the_heads() -> None:
    parts = {**DEFAULT_PARTS, 'act_cfg': {'type': 'ReLU', 'inplace': True}}

    def heads(name: str, *keys: str) -> list[Any]:
        given = {key: dict(parts[key]) for key in keys}
        return [build_model({'type': name, **more}) for more in ({}, given)]

    rpn, rpn_given = heads(
        'RPN3DHead', 'anchor_generator', 'bbox_coder', 'act_cfg'
    )
    assert type(rpn.prior_generator) is type(rpn_given.prior_generator)
    assert vars(rpn.prior_generator) == vars(rpn_given.prior_generator)
    assert type(rpn.bbox_coder) is type(rpn_given.bbox_coder)
    assert vars(rpn.bbox_coder) == vars(rpn_given.bbox_coder)
    assert str(rpn.conv) == str(rpn_given.conv)
    box, box_given = heads('BBox3DHead', 'bbox_coder', 'act_cfg')
    assert vars(box.bbox_coder) == vars(box_given.bbox_coder)
    assert str(box.after_fc1) == str(box_given.after_fc1)
    mask, mask_given = heads('Mask3DHead', 'act_cfg')
    assert str(mask) == str(mask_given)
    roi, roi_given = heads('NoduleRoIHead', 'bbox_roi_extractor')
    assert str(roi) == str(roi_given)


def test_a_long_list_is_cut() -> None:
    other = network(box_border=8, roi_head__border=0)
    generator = {'type': 'AnchorGenerator3D', 'sizes': (1, 2, 3, 4)}
    other['rpn_head'].update(anchor_generator=generator)
    other['backbone']['act_cfg'] = {'type': 'SiLU'}
    other['rpn_head']['act_cfg'] = {'type': 'SiLU'}
    other['data_preprocessor']['pad_hu'] = -1

    with pytest.raises(CheckpointError, match=r'a\.pth: .*; and 1 more\.'):
        network_caveats(
            network(), other, 'a.pth', may_differ=False, layers_only=False
        )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (ANCHORS, r'sizes was \[5, 8, 13, 22\] and is \[4, 9, 15, 30\]'),
        (SILU, "backbone.act_cfg.type was 'ReLU' and is 'SiLU'"),
    ],
)
def test_another_network_is_neither_tested_nor_resumed(
    trained: Path,
    tiny_config: Path,
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(CheckpointError, match=f'{message}.* load_from'):
        run_test(
            tiny_config, trained, out=tmp_path / 'out', cfg_options=options
        )
    with pytest.raises(CheckpointError, match=f'epoch_1.pth: .*{message}'):
        train(
            tiny_config,
            work_dir=trained,
            resume='auto',
            cfg_options={**ONCE, **options},
        )


def test_several_checkpoints_of_another_network_are_not_tested(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    files = [trained / 'iter_3.pth', trained / 'epoch_1.pth']

    with pytest.raises(CheckpointError, match=r'model\.members\.0\.rpn_head'):
        run_test(tiny_config, files, out=tmp_path / 'out', cfg_options=ANCHORS)


def test_a_training_that_may_change_the_network_tells_of_it(
    trained: Path,
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of other anchors only where the heads of before are trained on."""
    options = {**ONCE, **SILU, **ANCHORS}
    start = {'load_from': str(trained / 'epoch_1.pth')}

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options | start)

    (caveat,) = caveats_of(capsys)
    assert "model.backbone.act_cfg.type was 'ReLU'" in caveat
    assert 'sizes' not in caveat
    train(
        tiny_config,
        work_dir=trained,
        resume='auto',
        new_schedule=True,
        cfg_options=options,
    )
    (caveat,) = caveats_of(capsys)
    assert 'sizes was' in caveat and 'act_cfg.type was' in caveat


def caveats_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if 'weights of another network' in line]
