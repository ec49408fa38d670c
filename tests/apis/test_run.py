"""Configs and their options; folders of results."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lungdet.apis import load_config, train
from lungdet.apis import test as run_test
from lungdet.engine.run_manifest import MANIFEST_FILE, RunManifest
from lungdet.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_misspelt_option_gets_the_closest_name(tiny_config: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'max_epochs'"):
        load_config(tiny_config, {'train_cfg.max_epoch': 3})

    added = load_config(tiny_config, {'+note': 'x', 'train_cfg.max_epochs': 3})

    assert added.note == 'x' and added.train_cfg.max_epochs == 3


def test_top_level_key_that_nothing_reads_is_refused(
    tiny_config: Path,
) -> None:
    text = tiny_config.read_text()
    tiny_config.write_text(text + '\ntrian_cfg = dict(max_epochs=1)\n')
    with pytest.raises(ConfigError, match="'trian_cfg'.*mean 'train_cfg'"):
        load_config(tiny_config)
    tiny_config.write_text(text + '\n_epochs = 1\n')
    assert load_config(tiny_config)._epochs == 1
    tiny_config.write_text(text + '\nmodel = dict(\n')
    with pytest.raises(ConfigError, match=r'tiny\.py: cannot be read'):
        load_config(tiny_config)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (
            'train_dataloader = dict(bacth_size=2)',
            "train_dataloader: .*'bacth_size'.*mean 'batch_size'",
        ),
        (
            'test_dataloader = dict(datset=None)',
            "test_dataloader: .*'datset'.*mean 'dataset'",
        ),
        (
            'optim_wrapper = dict(clip_grad=dict(max_nrm=3))',
            "optim_wrapper.clip_grad: .*'max_nrm'.*mean 'max_norm'",
        ),
        ('randomness = dict(sed=1)', "randomness: .*'sed'.*mean 'seed'"),
        ('env_cfg = dict(cudn=True)', "env_cfg: .*'cudn'.*cudnn_benchmark"),
        (
            'env_cfg = dict(mp_cfg=dict(start_method="fork"))',
            "env_cfg.mp_cfg: .*mean 'mp_start_method'",
        ),
        (
            'default_hooks = dict(chekpoint=dict(type="LungCheckpointHook"))',
            "default_hooks: .*'chekpoint'.*mean 'checkpoint'.*custom_hooks",
        ),
        (
            'train_dataloader = dict(collate_fn=dict(type="psudo_collate"))',
            "train_dataloader.collate_fn.type=.*mean 'pseudo_collate'",
        ),
        (
            'optim_wrapper = dict(clip_grad=5)',
            'optim_wrapper.clip_grad: clip_grad=5 is no dict',
        ),
    ],
)
def test_misspelt_name_in_a_table_gets_the_closest(
    tiny_config: Path, line: str, message: str
) -> None:
    tiny_config.write_text(f'{tiny_config.read_text()}\n{line}\n')

    with pytest.raises(ConfigError, match=message):
        load_config(tiny_config)


def test_functions_may_be_named_by_their_whole_path(tiny_config: Path) -> None:
    path = 'mmengine.dataset.pseudo_collate'
    line = f'test_dataloader = dict(collate_fn=dict(type="{path}"))'
    tiny_config.write_text(f'{tiny_config.read_text()}\n{line}\n')

    assert load_config(tiny_config).test_dataloader.collate_fn.type == path


def test_a_loaded_config_takes_options_and_is_left_as_it_is(
    tiny_config: Path,
) -> None:
    config = load_config(tiny_config)
    config.test_dataloader.dataset.data_root = '/elsewhere'

    changed = load_config(config, {'train_cfg.max_epochs': 7})

    assert changed.train_cfg.max_epochs == 7
    assert config.train_cfg.max_epochs == 4
    assert changed.test_dataloader.dataset.data_root == '/elsewhere'
    with pytest.raises(ConfigError, match="did you mean 'max_epochs'"):
        train(config, cfg_options={'train_cfg.max_epoch': 7})


def test_held_out_series_are_set_once() -> None:
    config = load_config(CONFIGS / 'luna16_mini.py', {'test_series': ['1.2']})

    for name in ('train_dataloader', 'test_dataloader'):
        assert config[name].dataset.test_series == ['1.2']
        assert config[name].dataset.val_series == []
    free = load_config(CONFIGS / 'nodulenet_base.py')
    assert free.train_dataloader.dataset.test_series is None


def test_checkpoints_of_an_earlier_run_are_not_replaced(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    saved = {f: f.read_bytes() for f in trained.glob('*.pth')}

    with pytest.raises(ConfigError, match=r'epoch_1\.pth.*with --resume'):
        train(tiny_config, work_dir=trained)
    other = tmp_path / 'other' / 'epoch_1.pth'
    other.parent.mkdir()
    other.write_bytes((trained / 'epoch_1.pth').read_bytes())
    with pytest.raises(ConfigError, match=r'epoch_1\.pth.*with --resume'):
        train(tiny_config, work_dir=trained, resume=str(other))

    assert {f: f.read_bytes() for f in trained.glob('*.pth')} == saved


def test_results_of_other_weights_are_not_mixed(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    first = run_test(tiny_config, trained, out=out)
    shutil.copy(trained / 'epoch_1.pth', tmp_path / 'same.pth')
    assert run_test(tiny_config, tmp_path / 'same.pth', out=out) == first

    other = tmp_path / 'other.pth'
    other.write_bytes((trained / 'iter_3.pth').read_bytes())
    with pytest.raises(ConfigError, match='with another checkpoint;'):
        run_test(tiny_config, other, out=out)
    for key, value, name in (
        ('model.test_cfg.window', (40, 40, 40), 'model'),
        ('data_root', str(tmp_path / 'more'), 'cases'),
    ):
        if name == 'cases':
            shutil.copytree(tmp_path / 'cases', value)
            with open(f'{value}/index.json', 'a') as file:
                file.write(' ')
        with pytest.raises(ConfigError, match=f'with another {name};'):
            run_test(tiny_config, trained, out=out, cfg_options={key: value})
    (out / MANIFEST_FILE).unlink()
    with pytest.raises(ConfigError, match='nothing there says what they were'):
        run_test(tiny_config, trained, out=out)


def test_a_test_that_failed_early_does_not_bind_its_folder(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    with pytest.raises(FileNotFoundError, match='mistyped'):
        run_test(
            tiny_config,
            trained / 'iter_3.pth',
            out=out,
            cfg_options={'data_root': str(tmp_path / 'mistyped')},
        )
    failed = RunManifest.read(out)
    assert failed.metrics is None

    metrics = run_test(tiny_config, trained, out=out)

    manifest = RunManifest.read(out)
    assert manifest.metrics == metrics
    assert manifest.compare(failed.identity) == ['checkpoint', 'cases']
