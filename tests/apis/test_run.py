"""Folders that runs write to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine.run_manifest import MANIFEST_FILE, RunManifest
from lungdet.errors import ConfigError


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
