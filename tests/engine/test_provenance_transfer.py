"""From pre-training to a detector: weights, scans and caveats go along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.engine import read_backbone
from lungdet.engine.checkpoint import read_checkpoint
from lungdet.errors import CheckpointError, ConfigError
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.models import AttentionPlugin, FeatureNet
from lungdet.registry import MODELS
from tests.engine.runs import NO_VALIDATION, ConstantHead, detector, rewrite


@MODELS.register_module(force=True)
class NoEncoderNet(FeatureNet):
    """Does not say which of its modules are the encoder."""

    encoder = property()


@MODELS.register_module(force=True)
class ToyGate(AttentionPlugin):
    """A plugin with the kinds of state quartet attention has."""

    name = 'toy_gate'
    pools_over_space = False

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, True), x.mean(1, True)], 1)
        return x * self.norm(self.conv(pooled)).sigmoid()


TOY = [{'cfg': {'type': 'ToyGate'}, 'position': 'after_conv2'}]


def test_encoder_alone_starts_from_the_weights(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """The decoder is that of a detector without pre-training."""
    config = detector(tiny_config, weights)
    config.pretrained.parts = 'encoder'
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0
    tensors, _ = read_backbone(weights)

    started = train(config, work_dir=tmp_path / 'encoder').model.backbone
    config.pretrained = None
    random = train(config, work_dir=tmp_path / 'random').model.backbone

    untrained = random.state_dict()
    for name, value in started.named_parameters():
        decoder = name.startswith(('back3', 'back2', 'path1', 'path2'))
        expected = untrained if decoder else tensors
        assert torch.equal(value, expected[name]), name
    saved = read_checkpoint(tmp_path / 'encoder')['meta']['pretraining']
    assert saved['parts'] == 'encoder'


@pytest.mark.parametrize(
    ('parts', 'backbone', 'message'),
    [
        ('decoder', 'FeatureNet', "parts: 'decoder'; choose one of"),
        ('encoder', 'NoEncoderNet', 'NoEncoderNet does not say which of its'),
    ],
)
def test_parts_that_cannot_be_filled_end_in_a_line(
    parts: str,
    backbone: str,
    message: str,
    weights: Path,
    tiny_config: Path,
    tmp_path: Path,
) -> None:
    config = detector(
        tiny_config, weights, **{'model.backbone.type': backbone}
    )
    config.pretrained.parts = parts

    with pytest.raises(ConfigError, match=message):
        train(config, work_dir=tmp_path / 'run')


def test_detector_starts_from_the_pretrained_backbone(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = detector(tiny_config, weights)
    config.optim_wrapper.optimizer.lr = 0.0  # keeps what was loaded

    runner = train(config, work_dir=tmp_path / 'detector')

    assert runner.iter >= 2
    tensors, provenance = read_backbone(weights)
    saved = read_checkpoint(tmp_path / 'detector')
    for name, value in runner.model.backbone.named_parameters():
        assert torch.equal(value, tensors[name]), name
    assert saved['meta']['pretraining'] == {**provenance, 'parts': 'all'}
    # a run that continues keeps it, without the file
    config = detector(tiny_config, tmp_path / 'gone.safetensors')
    config.optim_wrapper.optimizer.lr = 0.0
    config.train_cfg.max_epochs = 2
    train(config, work_dir=tmp_path / 'detector', resume='auto')
    saved = read_checkpoint(tmp_path / 'detector')
    assert saved['meta']['epoch'] == 2
    assert saved['meta']['pretraining'] == {**provenance, 'parts': 'all'}


def test_plugins_are_pretrained_and_transferred(
    genesis_config: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """Plugins written in another spelling are the same plugins."""
    plugins = {'+model.backbone.plugins': TOY}
    train(
        load_config(
            genesis_config,
            {**plugins, 'train_cfg.max_epochs': 1, **NO_VALIDATION},
        ),
        work_dir=tmp_path / 'run',
    )
    weights = tmp_path / 'run' / 'backbone.safetensors'
    spelt = [{**TOY[0], 'stages': [True] * 6}]
    config = detector(
        tiny_config, weights, **{'+model.backbone.plugins': spelt}
    )
    config.optim_wrapper.optimizer.lr = 0.0

    runner = train(config, work_dir=tmp_path / 'detector')

    tensors, _ = read_backbone(weights)
    gates = {n: v for n, v in tensors.items() if 'toy_gate' in n}
    parameters = dict(runner.model.backbone.named_parameters())
    # a convolution and a norm's weight and bias in each of six blocks
    assert sum(name in parameters for name in gates) == 18
    for name, value in gates.items():
        if name in parameters:
            assert torch.equal(parameters[name], value), name
    with pytest.raises(CheckpointError, match='plugins .*ToyGate.*here it is'):
        train(detector(tiny_config, weights), work_dir=tmp_path / 'plain')


def test_another_window_is_an_error_with_both_values(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = detector(
        tiny_config,
        weights,
        **{'model.data_preprocessor.window': [-1000, 400]},
    )

    with pytest.raises(
        CheckpointError, match=r'window \[-1200.*\], but.*\[-1000.*400'
    ):
        train(config, work_dir=tmp_path / 'w')


def test_weights_that_saw_the_test_are_refused(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = detector(tiny_config, weights)
    for name in ('train_dataloader', 'test_dataloader'):
        config[name].dataset['test_series'] = ['1.0', '1.3']

    with pytest.raises(CheckpointError, match='1 of the 2 test scans.*1.0'):
        train(config, work_dir=tmp_path / 'w')


def test_checkpoint_is_refused_for_a_test_its_weights_saw(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')

    with pytest.raises(CheckpointError, match='2 of the 2 test scans'):
        run_test(
            tiny_config,
            tmp_path / 'w',
            out=tmp_path / 'out',
            cfg_options={
                '+test_dataloader.dataset.test_series': ['1.0', '1.1']
            },
        )


def test_all_folds_are_written_down_and_shown_in_every_table(
    genesis_config: Path,
    tiny_config: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {
        **NO_VALIDATION,
        'train_cfg.max_epochs': 1,
        '+train_dataloader.dataset.val_series': [],
        'train_dataloader.dataset.folds': 'all',
    }
    with pytest.warns(UserWarning, match="folds='all'"):
        train(load_config(genesis_config, options), work_dir=tmp_path / 'run')
    weights = tmp_path / 'run' / 'backbone.safetensors'
    caveat = "folds='all'), 2 of the 2 test scans among them"
    config = detector(tiny_config, weights)
    validating = load_config(tiny_config)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config[key] = validating[key]
    config.train_cfg.val_interval = 1

    train(config, work_dir=tmp_path / 'w')
    run_test(tiny_config, tmp_path / 'w', out=tmp_path / 'out')

    assert read_backbone(weights)[1]['folds'] == 'all'
    assert (
        read_checkpoint(tmp_path / 'w')['meta']['pretraining']['folds']
        == 'all'
    )
    log = ''.join(p.read_text() for p in (tmp_path / 'w').rglob('*.log'))
    validation = log[log.index('+sensitivity') :]
    assert caveat in validation.replace('\n', ' ')
    assert caveat in (tmp_path / 'out' / 'table.txt').read_text()
    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert caveat in froc['caveats'][-1]['text']
    detections = json.loads((tmp_path / 'out/detections.json').read_text())
    assert all(caveat in row['caveats'][0] for row in detections)


def test_clean_weights_leave_tables_alone(
    weights: Path, tiny_config: Path, tmp_path: Path
) -> None:
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')
    run_test(tiny_config, tmp_path / 'w', out=tmp_path / 'out')

    assert 'tested-run' not in (tmp_path / 'out' / 'table.txt').read_text()
    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert 'tested-run' not in {c['name'] for c in froc['caveats']}


ONCE = {
    **NO_VALIDATION,
    'train_cfg.max_epochs': 1,
    '+train_dataloader.dataset.val_series': [],
}


def test_scans_and_flag_of_earlier_pretraining_are_carried_on(
    weights: Path, genesis_config: Path, tmp_path: Path
) -> None:
    """Pre-trained twice: the scans of the first run are kept."""
    earlier = rewrite(
        weights,
        tmp_path / 'earlier.safetensors',
        train_series=['1.9'],
        folds='all',
    )
    train(
        detector(genesis_config, earlier, **{'+model.test_cfg': {}}),
        work_dir=tmp_path / 'second',
    )

    _, provenance = read_backbone(tmp_path / 'second/backbone.safetensors')

    assert provenance['train_series'] == ['1.0', '1.1', '1.9']
    assert provenance['folds'] == 'all'


def test_scans_and_flag_of_a_loaded_checkpoint_are_carried_on(
    genesis_config: Path, tmp_path: Path
) -> None:
    """Pre-trained on all folds, then again on the training's alone."""
    everywhere = {**ONCE, 'train_dataloader.dataset.folds': 'all'}
    with pytest.warns(UserWarning, match="folds='all'"):
        train(
            load_config(genesis_config, everywhere), work_dir=tmp_path / 'all'
        )

    again = {**ONCE, 'load_from': str(tmp_path / 'all' / 'epoch_1.pth')}
    train(load_config(genesis_config, again), work_dir=tmp_path / 'again')

    _, provenance = read_backbone(tmp_path / 'again/backbone.safetensors')
    assert provenance['folds'] == 'all'
    assert provenance['train_series'] == ['1.0', '1.1', '1.2', '1.3', '1.4']
    assert read_checkpoint(tmp_path / 'again')['meta']['folds'] == 'all'


def test_scans_of_a_loaded_detector_are_carried_on(
    trained: Path, genesis_config: Path, tmp_path: Path
) -> None:
    options = {
        **ONCE,
        'train_dataloader.dataset.test_series': ['1.3', '1.4'],
        '+train_dataloader.dataset.val_series': ['1.0'],
        # nothing but the detector's backbone, so that the rest matches
        '+model.head': {'_delete_': True, 'type': ConstantHead.__name__},
        'load_from': str(trained / 'epoch_1.pth'),
    }

    train(load_config(genesis_config, options), work_dir=tmp_path / 'run')

    _, provenance = read_backbone(tmp_path / 'run/backbone.safetensors')
    assert provenance['folds'] == 'train'
    assert provenance['train_series'] == ['1.0', '1.1', '1.2']


def test_patients_of_both_pretrainings_are_written_down(
    weights: Path, genesis_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    store = CaseStore(tiny_store)
    for uid, record in store.records.items():
        arrays = {n: store.read(uid, n) for n in ('image', 'lungs')}
        named = replace(record, patient_id=f'P{uid}')
        write_case(tiny_store, named, arrays)
    rebuild_index(tiny_store)
    earlier = rewrite(
        weights, tmp_path / 'earlier.safetensors', train_patients=['P1.9']
    )

    train(
        detector(genesis_config, earlier, **{'+model.test_cfg': {}}),
        work_dir=tmp_path / 'run',
    )

    _, provenance = read_backbone(tmp_path / 'run' / 'backbone.safetensors')
    assert provenance['train_patients'] == ['P1.0', 'P1.1', 'P1.9']
