from __future__ import annotations

import json
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch import Tensor, nn

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.cli import add_cfg_options
from lungdet.engine import (
    CollapseAlarmHook,
    RestorationPicturesHook,
    StartWithMSEHook,
    export_backbone,
    read_backbone,
)
from lungdet.engine.checkpoint import fill_module, read_checkpoint
from lungdet.engine.detector import load_detector
from lungdet.engine.pretraining import missing_weights
from lungdet.engine.pretraining_hooks import collapse_alarms
from lungdet.errors import CheckpointError, ConfigError
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from lungdet.models import AttentionPlugin
from lungdet.models.losses import L1Loss
from lungdet.registry import DATASETS, MODELS
from tests.engine.conftest import write_genesis_config, write_tiny_store
from tests.killed_training import assert_same, assert_same_end, run_train

CONFIGS = Path(__file__).parents[2] / 'configs'
NO_VALIDATION = {
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
}


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


@pytest.fixture(scope='module')
def genesis_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of a pre-training run."""
    folder = tmp_path_factory.mktemp('genesis')
    config = write_genesis_config(folder, write_tiny_store(folder / 'cases'))
    train(config, work_dir=folder / 'run')
    return folder / 'run'


@pytest.fixture
def weights(genesis_run: Path) -> Path:
    return genesis_run / 'backbone.safetensors'


def detector(config: Path, weights: Path, **options: object) -> Config:
    return load_config(
        config,
        {
            **NO_VALIDATION,
            'train_cfg.max_epochs': 1,
            '+pretrained': {'weights': str(weights), 'config': 'genesis.py'},
            **options,
        },
    )


def rewrite(weights: Path, target: Path, **changes: object) -> Path:
    """The same tensors with another provenance."""
    tensors, provenance = read_backbone(weights)
    export_backbone(target, tensors, {**provenance, **changes})
    return target


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
    assert saved['meta']['pretraining'] == provenance
    # a run that continues keeps it, without the file
    config = detector(tiny_config, tmp_path / 'gone.safetensors')
    config.train_cfg.max_epochs = 2
    train(config, work_dir=tmp_path / 'detector', resume='auto')
    saved = read_checkpoint(tmp_path / 'detector')
    assert saved['meta']['epoch'] == 2
    assert saved['meta']['pretraining'] == provenance


def test_export_needs_safetensors_alone(weights: Path) -> None:
    """A reader of the file needs no torch, no pickle and no lungdet."""
    code = (
        'import json, sys\n'
        'from safetensors import safe_open\n'
        f'file = safe_open({str(weights)!r}, "np")\n'
        'assert not {"torch", "pickle5", "lungdet"} & set(sys.modules)\n'
        'tensor = file.get_tensor("forw1.0.conv1.weight")\n'
        'print(json.dumps([file.metadata(), len(list(file.keys())), '
        'tensor.shape]))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    header, num, shape = json.loads(done.stdout)
    assert header['format'] == 'lungdet.backbone/2'
    assert shape == [4, 4, 3, 3, 3] and num > 100
    provenance = json.loads(header['provenance'])
    assert provenance['input_contract'] == {
        'window': [-1200, 600],
        'out_range': [-1, 1],
        'spacing_mm': 1.0,
        'plugins': [],
    }
    # 1.2 validates, 1.3 and 1.4 are the test's
    assert provenance['train_series'] == ['1.0', '1.1']
    assert provenance['folds'] == 'train'
    assert provenance['method'] == 'GenesisPretrainer'
    # 8 crops in batches of 2, 3 epochs
    assert (provenance['iterations'], provenance['epochs']) == (12, 3)


def test_run_leaves_numbers_and_pictures(genesis_run: Path) -> None:
    assert (genesis_run / 'pictures' / 'epoch_0003.png').stat().st_size > 5000
    (scalars,) = genesis_run.rglob('scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    steps = [row for row in rows if 'loss_restoration' in row]
    checks = [row for row in rows if 'restore/l1' in row]
    assert len(steps) == 12 and len(checks) == 2
    assert all(0 <= row['spread'] for row in steps)
    for key in ('l1', 'mse', 'vs_constant', 'vs_copy', 'spread', 'saturated'):
        assert f'restore/{key}' in checks[-1]


def test_missing_weights_name_the_command(
    tiny_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    config = detector(tiny_config, Path('runs/genesis/backbone.safetensors'))

    with pytest.raises(FileNotFoundError) as caught:
        train(config, work_dir=tmp_path / 'w')

    assert (
        'python tools/train.py genesis.py --resume --work-dir runs/genesis '
        f'--cfg-options data_root={tiny_store}' in str(caught.value)
    )


@pytest.mark.parametrize(
    ('name', 'changes', 'seen'),
    [
        ('luna16_mini_qam_mg', {}, ['1.0', '1.1', '1.2']),
        (
            'luna16_mini_qam_mg',
            {'train_dataloader.dataset.test_subsets': [0]},
            ['1.3', '1.4'],
        ),
        (
            'nodulenet_mg',
            {
                'train_dataloader.dataset.test_subsets': (),
                'train_dataloader.dataset.val_subsets': (9,),
            },
            ['1.0', '1.1', '1.2'],
        ),
    ],
)
def test_command_for_missing_weights_sees_the_same_scans(
    name: str, changes: dict, seen: list[str], tiny_store: Path
) -> None:
    config = load_config(
        CONFIGS / f'{name}.py', {'data_root': str(tiny_store), **changes}
    )
    source = str(CONFIGS.parent / config.pretrained.config)
    start = {'weights': 'my runs/backbone.safetensors', 'config': source}

    message = missing_weights(start, config)

    parser = ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('--resume', nargs='?', const='auto')
    parser.add_argument('--work-dir')
    add_cfg_options(parser)
    words = shlex.split(message.partition('Make them: ')[2])
    given = parser.parse_args(words[2:])
    assert (given.config, given.work_dir) == (source, 'my runs')
    assert given.resume == 'auto'  # one that was stopped goes on
    made = load_config(given.config, given.cfg_options)
    for loader in (made.train_dataloader, made.val_dataloader):
        if loader is not None:
            dataset = DATASETS.build(loader.dataset)
            assert set(dataset.metainfo['test_series']).isdisjoint(seen)
    train_set = DATASETS.build(made.train_dataloader.dataset)
    assert train_set.series_uids == seen


def test_missing_weights_without_a_config_say_what_to_give() -> None:
    message = missing_weights({'weights': 'a.safetensors'}, {})

    assert 'a.safetensors: not there' in message
    assert 'pretrained.config' in message


@pytest.mark.parametrize(
    'name', ['nodulenet_mg', 'nodulenet_qam_mg', 'nodulenet_qam_mae']
)
def test_shipped_configs_name_a_config_that_makes_their_weights(
    name: str,
) -> None:
    config = load_config(CONFIGS / f'{name}.py')
    source = load_config(CONFIGS.parent / config.pretrained.config)

    work_dir = Path('work_dirs') / Path(config.pretrained.config).stem
    assert Path(config.pretrained.weights).parent == work_dir
    assert source.model.backbone == config.model.backbone
    assert (
        source.model.data_preprocessor.window
        == config.model.data_preprocessor.window
    )
    base = load_config(CONFIGS / 'nodulenet_base.py')
    for key in ('optim_wrapper', 'param_scheduler', 'train_dataloader'):
        assert config[key] == base[key]


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
    own = dict(runner.model.backbone.named_parameters())
    # a convolution and a norm's weight and bias in each of six blocks
    assert sum(name in own for name in gates) == 18
    for name, value in gates.items():
        if name in own:
            assert torch.equal(own[name], value), name
    with pytest.raises(CheckpointError, match='plugins .*ToyGate.*here it is'):
        train(detector(tiny_config, weights), work_dir=tmp_path / 'plain')


def small() -> nn.Sequential:
    """20 convolutions: 40 tensors."""
    return nn.Sequential(*(nn.Conv3d(1, 1, 1) for _ in range(20)))


def test_transfer_needs_95_percent_of_the_tensors() -> None:
    model = small()
    tensors = {
        k: torch.full_like(v, 7) for k, v in small().state_dict().items()
    }

    enough = dict(list(tensors.items())[2:])  # 38 of 40
    assert 'fills 38 of 40' in fill_module(model, enough, 'file')
    assert model[1].bias.item() == 7 and model[0].bias.item() != 7
    model = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    few = dict(list(tensors.items())[2:])
    few['3.weight'] = torch.zeros(1, 2, 1, 1, 1)
    with pytest.raises(
        CheckpointError,
        match=r'fills 37 of 40.*0\.weight, 0\.bias, 3\.weight \(another shape',
    ):
        fill_module(model, few, 'file')
    assert_same(dict(model.state_dict()), before)
    wrong = {f'backbone.{k}': v for k, v in tensors.items()}
    with pytest.raises(CheckpointError, match='fills 0 of 40.*and 20 more'):
        fill_module(model, wrong, 'file')


def test_files_that_are_no_backbone_are_refused(
    weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match='no such weights'):
        read_backbone(tmp_path / 'x')
    (tmp_path / 'cut').write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        read_backbone(tmp_path / 'cut')
    save_file({'a': torch.zeros(1)}, tmp_path / 'other')
    with pytest.raises(CheckpointError, match='format None'):
        read_backbone(tmp_path / 'other')


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


def test_scans_and_flag_of_earlier_pretraining_are_carried_on(
    weights: Path, genesis_config: Path, tmp_path: Path
) -> None:
    """Pre-trained twice: what the first run saw still counts."""
    seen = rewrite(
        weights,
        tmp_path / 'seen.safetensors',
        train_series=['1.9'],
        folds='all',
    )
    train(
        detector(genesis_config, seen, **{'+model.test_cfg': {}}),
        work_dir=tmp_path / 'second',
    )

    _, provenance = read_backbone(tmp_path / 'second/backbone.safetensors')

    assert provenance['train_series'] == ['1.0', '1.1', '1.9']
    assert provenance['folds'] == 'all'


ONCE = {
    **NO_VALIDATION,
    'train_cfg.max_epochs': 1,
    '+train_dataloader.dataset.val_series': [],
}


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
        '+model.head': {'_delete_': True, 'type': 'ConstantHead'},
        'load_from': str(trained / 'epoch_1.pth'),
    }

    train(load_config(genesis_config, options), work_dir=tmp_path / 'run')

    _, provenance = read_backbone(tmp_path / 'run/backbone.safetensors')
    assert provenance['folds'] == 'train'
    assert provenance['train_series'] == ['1.0', '1.1', '1.2']


def test_alarms_by_hand() -> None:
    good = {'spread': 0.8, 'vs_constant': 0.4, 'vs_copy': 0.3}

    assert collapse_alarms(good) == []
    assert collapse_alarms({}) == []
    (alarm,) = collapse_alarms({**good, 'spread': 0.05})
    assert 'spread is 0.050' in alarm
    (alarm,) = collapse_alarms({**good, 'vs_constant': 1.0})
    assert 'best constant' in alarm
    (alarm,) = collapse_alarms({**good, 'vs_copy': float('nan')})
    assert 'copying the input' in alarm


@MODELS.register_module(force=True)
class ConstantHead(nn.Module):
    """Collapsed from the start: restores one number."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.5))

    def set_mean(self, mean: Tensor) -> None:
        self.value.data.copy_(mean)

    def forward(self, comb2: Tensor) -> Tensor:
        shape = [comb2.shape[0], 1, *(4 * side for side in comb2.shape[2:])]
        return self.value.expand(shape) + 0 * comb2.mean()


def test_collapsed_run_raises_the_alarm_and_carries_it(
    genesis_config: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(genesis_config)
    config.model.head = {'type': 'ConstantHead'}
    for hook in config.custom_hooks:
        if hook.type == 'CollapseAlarmHook':
            hook.begin = 5

    train(config, work_dir=tmp_path / 'run')

    log = ''.join(p.read_text() for p in (tmp_path / 'run').rglob('*.log'))
    assert 'COLLAPSE ALARM: iteration 8: the output is nearly one' in log
    assert 'COLLAPSE ALARM: iteration 4:' not in log  # too early to say
    weights = tmp_path / 'run' / 'backbone.safetensors'
    alarms = read_backbone(weights)[1]['alarms']
    assert any('spread is 0.000' in alarm for alarm in alarms)
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')
    log = ''.join(p.read_text() for p in (tmp_path / 'w').rglob('*.log'))
    assert 'its training ended with: the output is nearly one constant' in log


def test_owed_validation_uses_the_loss_of_the_step_before() -> None:
    """A run that was killed between a step and its validation."""
    model = SimpleNamespace(criterion=L1Loss())
    runner = SimpleNamespace(iter=7, model=model)
    hook = StartWithMSEHook(iters=7)

    hook.before_train(runner)
    assert model.criterion.kind == 'mse'  # steps 0 to 6 are of it
    hook.before_train_iter(runner, 0)
    assert model.criterion.kind == 'l1'


def test_alarm_of_training_steps_needs_no_validation() -> None:
    hub = MessageHub.get_instance('alarm')
    lines: list[str] = []
    runner = SimpleNamespace(
        iter=400,
        max_iters=1000,
        message_hub=hub,
        logger=SimpleNamespace(warning=lines.append),
    )
    hook = CollapseAlarmHook()

    hook.after_train_iter(runner, 0, outputs={'spread': torch.tensor(0.02)})
    hook.after_train_epoch(runner)
    assert 'spread is 0.020' in lines[0] and len(lines) == 1
    hook.after_train_iter(runner, 0, outputs={'spread': torch.tensor(0.9)})
    hook.after_train_epoch(runner)
    assert len(lines) == 1 and hub.get_info('train_alarms') == []


def test_alarms_of_the_validation_reach_the_next_checkpoint(
    genesis_config: Path, tmp_path: Path
) -> None:
    """Steps know nothing of the copied input. The checkpoint of epoch 2 is
    written after them and before that epoch's validation."""
    config = load_config(
        genesis_config,
        {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1},
    )
    config.val_dataloader.dataset.pipeline = [
        t
        for t in config.val_dataloader.dataset.pipeline
        if t.type in ('LoadLungCrop', 'PackPair')
    ]
    for hook in config.custom_hooks:
        if hook.type == 'CollapseAlarmHook':
            hook.begin = 0

    train(config, work_dir=tmp_path / 'run')

    saved = read_checkpoint(tmp_path / 'run')
    alarms = [
        alarm
        for name, found in saved['runtime'].items()
        if name.endswith('alarms')
        for alarm in found
    ]
    assert saved['meta']['epoch'] == 2
    assert any('copying the input' in alarm for alarm in alarms)


def test_squared_error_leads_and_the_models_loss_follows() -> None:
    model = SimpleNamespace(criterion=L1Loss())
    runner = SimpleNamespace(model=model, iter=0)
    hook = StartWithMSEHook(iters=2)
    hook.before_train(runner)

    kinds = []
    for runner.iter in range(4):
        hook.before_train_iter(runner, 0)
        kinds.append(model.criterion.kind)

    assert kinds == ['mse', 'mse', 'l1', 'l1']


def test_output_starts_at_the_mean_of_the_crops(
    genesis_config: Path, tmp_path: Path
) -> None:
    config = load_config(genesis_config, {**NO_VALIDATION})
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0
    config.train_cfg.max_epochs = 1

    runner = train(config, work_dir=tmp_path / 'run')

    data = runner.train_dataloader.dataset
    mean = torch.stack([data[k]['targets'].mean() for k in range(8)]).mean()
    model = runner.model
    assert model.data_mean.item() == pytest.approx(mean.item(), rel=1e-5)
    assert model.head.out.bias.item() == pytest.approx(
        mean.logit().item(), rel=1e-5
    )


def test_pretraining_checkpoint_is_no_detector(genesis_run: Path) -> None:
    with pytest.raises(CheckpointError, match='GenesisPretrainer'):
        load_detector(genesis_run)


def test_pretraining_resumes_epochs_of_its_own_length_alone(
    genesis_run: Path, genesis_config: Path, tmp_path: Path
) -> None:
    """Eight crops, two scans of four: four batches of two, two of four."""
    with pytest.raises(
        CheckpointError, match='have 4 batches.* this run has 2 batches'
    ):
        train(
            genesis_config,
            work_dir=tmp_path / 'run',
            resume=genesis_run,
            cfg_options={'train_dataloader.batch_size': 4},
        )


def test_masked_autoencoder_goes_the_same_way(
    genesis_config: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        genesis_config,
        {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
    )
    config.model.type = 'MaskedAutoencoder'
    config.model.loss.type = 'MSELoss'
    config.model.block = 8
    for name in ('train_dataloader', 'val_dataloader'):
        dataset = config[name].dataset
        dataset.pipeline = [
            t
            for t in dataset.pipeline
            if t.type in ('LoadLungCrop', 'RepeatedFlip3D', 'PackPair')
        ]

    train(config, work_dir=tmp_path / 'run')

    log = ''.join(p.read_text() for p in (tmp_path / 'run').rglob('*.log'))
    assert 'restore/l1_inside_hidden' in log and '_none' not in log
    weights = tmp_path / 'run' / 'backbone.safetensors'
    assert read_backbone(weights)[1]['method'] == 'MaskedAutoencoder'
    train(detector(tiny_config, weights), work_dir=tmp_path / 'w')


def test_bfloat16_reaches_training_and_validation(
    genesis_config: Path, tmp_path: Path
) -> None:
    runner = train(
        load_config(genesis_config, {'train_cfg.max_epochs': 1}),
        work_dir=tmp_path / 'run',
        amp=True,
    )

    assert runner.model.test_cfg['bf16']
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize('method', ['GenesisPretrainer', 'MaskedAutoencoder'])
def test_killed_and_resumed_pretraining_ends_the_same(
    genesis_config: Path, tmp_path: Path, method: str
) -> None:
    config = load_config(genesis_config)
    config.model.type = method
    for hook in config.custom_hooks:
        if hook.type == 'StartWithMSEHook':
            hook.iters = 7  # between the two kills
    config.dump(genesis_config)
    run_train(genesis_config, tmp_path / 'whole')
    for kill in (5, 9):
        run_train(genesis_config, tmp_path / 'cut', kill_at=kill)
    run_train(genesis_config, tmp_path / 'cut')

    end = assert_same_end(tmp_path / 'whole', tmp_path / 'cut')
    assert end['meta']['iter'] == 12
    files = [
        read_backbone(tmp_path / n / 'backbone.safetensors')
        for n in ('whole', 'cut')
    ]
    assert_same(*(dict(tensors) for tensors, _ in files))
    assert files[0][1] == files[1][1]


def alarm_runner(**progress: int) -> SimpleNamespace:
    lines: list[str] = []
    return SimpleNamespace(
        message_hub=MessageHub.get_instance('alarm'),
        logger=SimpleNamespace(warning=lines.append),
        lines=lines,
        **progress,
    )


def test_alarm_after_validation_looks_at_all_its_numbers() -> None:
    runner = alarm_runner(iter=400, max_iters=1000)
    metrics = {'restore/spread': 0.8, 'restore/vs_constant': 0.4}

    CollapseAlarmHook().after_val_epoch(
        runner, {**metrics, 'restore/vs_copy': 1.5}
    )

    (line,) = runner.lines
    assert 'iteration 400: the loss is 1.50 of that of copying' in line
    assert len(runner.message_hub.get_info('val_alarms')) == 1
    CollapseAlarmHook().after_val_epoch(
        runner, {**metrics, 'restore/vs_copy': 0.3}
    )
    assert runner.message_hub.get_info('val_alarms') == []


def test_alarm_of_a_short_run_begins_at_its_half() -> None:
    hook = CollapseAlarmHook(begin=200)
    for step, max_iters, num in (
        (9, 20, 0),
        (10, 20, 1),
        (199, 1000, 0),
        (200, 1000, 1),
    ):
        runner = alarm_runner(iter=step, max_iters=max_iters)
        hook.after_val_epoch(runner, {'restore/spread': 0.0})
        assert len(runner.lines) == num, (step, max_iters)


def test_patients_of_both_pretrainings_are_written_down(
    weights: Path, genesis_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    store = CaseStore(tiny_store)
    for uid, record in store.records.items():
        arrays = {n: store.read(uid, n) for n in ('image', 'lungs')}
        named = replace(record, patient_id=f'P{uid}')
        write_case(tiny_store, named, arrays)
    rebuild_index(tiny_store)
    seen = rewrite(
        weights, tmp_path / 'seen.safetensors', train_patients=['P1.9']
    )

    train(
        detector(genesis_config, seen, **{'+model.test_cfg': {}}),
        work_dir=tmp_path / 'run',
    )

    _, provenance = read_backbone(tmp_path / 'run' / 'backbone.safetensors')
    assert provenance['train_patients'] == ['P1.0', 'P1.1', 'P1.9']


def test_loaded_weights_keep_their_mean(
    genesis_run: Path, genesis_config: Path, tmp_path: Path
) -> None:
    config = load_config(
        genesis_config,
        {
            **NO_VALIDATION,
            'train_cfg.max_epochs': 1,
            'load_from': str(genesis_run / 'epoch_3.pth'),
        },
    )
    config.optim_wrapper.optimizer.lr = 0.0
    config.optim_wrapper.optimizer.weight_decay = 0.0

    runner = train(config, work_dir=tmp_path / 'run')

    loaded = read_checkpoint(genesis_run)['state_dict']
    mean = loaded['data_mean'].logit().item()
    assert loaded['head.out.bias'].item() != pytest.approx(mean, abs=1e-6)
    assert torch.equal(runner.model.head.out.bias, loaded['head.out.bias'])


def test_pictures_leave_the_model_as_it_was(
    genesis_config: Path, tmp_path: Path
) -> None:
    runner = train(
        load_config(
            genesis_config, {**NO_VALIDATION, 'train_cfg.max_epochs': 1}
        ),
        work_dir=tmp_path / 'run',
    )
    model = runner.model.train()
    before = {name: v.clone() for name, v in model.state_dict().items()}

    RestorationPicturesHook(interval=1).after_train_epoch(runner)

    assert (tmp_path / 'run' / 'pictures' / 'epoch_0002.png').is_file()
    assert_same(dict(model.state_dict()), before)
    assert model.training


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'+model.loss_on': 'half'}, "loss_on='half'; choose one of"),
        ({'model.head.channels': (8,)}, r'channels=\(8,\)'),
        (
            {'train_dataloader.dataset.pipeline.0.size': (32, 40, 32)},
            r'\(32, 40, 32\) are not multiples of 16',
        ),
    ],
    ids=['loss', 'head', 'crop'],
)
def test_configs_that_no_network_takes_end_in_a_line(
    options: dict, message: str, genesis_config: Path, tmp_path: Path
) -> None:
    """A LungdetError, in building as in the first step, has no traceback."""
    config = load_config(
        genesis_config,
        {
            **NO_VALIDATION,
            'train_dataloader.dataset.crops_per_scan': 2,
            **options,
        },
    )

    with pytest.raises(ConfigError, match=message):
        train(config, work_dir=tmp_path / 'run')
