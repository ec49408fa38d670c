from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis import ablate, ablation, fold_run
from lungdet.engine.run_manifest import RunManifest
from lungdet.errors import CheckpointError, ConfigError
from lungdet.io.case_store import CaseStore
from tests.apis.quick_run import QUICK
from tests.engine.conftest import write_genesis_config

RESTORED = """
_base_ = ['{tiny}']
pretrained = dict(weights='absent.safetensors', config='{genesis}')
"""


def write_restored(folder: Path, tiny: Path, store: Path) -> Path:
    """A row that starts from pre-trained weights."""
    path = folder / 'restored.py'
    genesis = write_genesis_config(folder, store)
    path.write_text(RESTORED.format(tiny=tiny, genesis=genesis))
    return path


@pytest.mark.slow
def test_rows_are_pretrained_trained_and_compared_on_the_same_scans(
    tiny_config: Path, tiny_store: Path, tmp_path: Path, monkeypatch
) -> None:
    restored = write_restored(tmp_path, tiny_config, tiny_store)
    out = tmp_path / 'out'

    table = ablate([tiny_config, restored], out, seeds=2, cfg_options=QUICK)

    base, other = table.rows
    assert (base.name, other.name) == ('tiny', 'restored')
    assert base.difference is None and other.difference is not None
    for row in table.rows:
        assert len(row.seeds) == 2 and row.parameters == base.parameters
        curve = row.seeds[0].result.curve
        assert (curve.scans, curve.nodules) == (2, 4)
    wanted = np.mean(other.cpms) - np.mean(base.cpms)
    assert other.difference.cpm == pytest.approx(wanted, abs=1e-12)
    # pre-training costs too, and sees the fold's training scans alone
    assert other.hours > base.hours > 0 and base.unit in ('CPU', 'GPU')
    fold = out / 'restored' / 'seed_1' / 'fold_config'
    start = RunManifest.read(fold / 'pretrain').start
    assert start.train_series == ('1.0', '1.1', '1.2')
    starts = {
        (name, seed): RunManifest.read(
            out / name / f'seed_{seed}' / 'fold_config' / 'train'
        ).start.weights
        for name in ('tiny', 'restored')
        for seed in (0, 1)
    }
    assert len(set(starts.values())) == 4  # seeds and pre-training differ

    written = (out / 'ablation.csv').read_text().splitlines()
    rows = list(csv.DictReader(written))
    assert [row['row'] for row in rows] == ['tiny', 'restored']
    assert float(rows[0]['CPM']) == pytest.approx(np.mean(base.cpms), abs=1e-4)
    assert rows[0]['difference'] == '' and rows[1]['p']
    for rate, (low, high) in zip(
        ('1/8', '1'), base.intervals.sensitivities[::3]
    ):
        assert float(rows[0][f'{rate}_lower']) == pytest.approx(low, abs=1e-4)
        assert float(rows[0][f'{rate}_upper']) == pytest.approx(high, abs=1e-4)
    text = (out / 'ablation.txt').read_text()
    assert '2 scans of 2 listed, 4 nodules, 2 seeds' in text
    assert '0.846' in text and 'misprint' in text
    assert (out / 'ablation.png').stat().st_size > 5000

    # what is done is read back, wherever it lies now
    out = out.rename(tmp_path / 'moved')
    monkeypatch.setattr(ablation, 'train', None)
    monkeypatch.setattr(fold_run, 'train', None)
    again = ablate([tiny_config, restored], out, seeds=2, cfg_options=QUICK)
    assert again.text() == table.text()
    # but not where the pre-training is another one now
    genesis = tmp_path / 'genesis.py'
    genesis.write_text(genesis.read_text() + "\nlog_level = 'ERROR'\n")
    with pytest.raises(ConfigError, match='pretrain: .* another config'):
        ablate([tiny_config, restored], out, seeds=2, cfg_options=QUICK)
    # nor a detector that started from the one that was removed
    monkeypatch.undo()
    for folder in out.glob('restored/*/*/pretrain'):
        shutil.rmtree(folder)
    with pytest.raises(ConfigError, match='another pretraining'):
        ablate([tiny_config, restored], out, seeds=2, cfg_options=QUICK)


@pytest.mark.slow
def test_a_row_pretrained_on_test_scans_says_so_everywhere(
    tiny_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    """The method's authors pre-trained on all folds."""
    restored = write_restored(tmp_path, tiny_config, tiny_store)
    everywhere = {'train_dataloader.dataset.folds': 'all'}

    with pytest.warns(UserWarning, match='uses all 5 scans, 2 of them'):
        table = ablate(
            [tiny_config, restored],
            tmp_path / 'out',
            cfg_options=QUICK,
            pretrain_options=everywhere,
        )

    (caveat,) = table.rows[1].caveats
    assert 'pre-trained without labels on all folds' in caveat
    few, of_row = table.caveats
    assert few.startswith('the intervals rest on 2 scans')
    assert of_row == f'restored: {caveat}'
    assert few in table.text() and caveat in table.text()
    last = (tmp_path / 'out' / 'ablation.csv').read_text().splitlines()[-1]
    assert caveat in last


def test_pretraining_of_another_window_is_refused_before_any_run(
    tiny_config: Path, tiny_store: Path, tmp_path: Path, monkeypatch
) -> None:
    restored = write_restored(tmp_path, tiny_config, tiny_store)
    monkeypatch.setattr(ablation, 'run_row', None)

    with pytest.raises(
        CheckpointError, match=r'restored, .*window \[-1000.0, 400.0\]'
    ):
        ablate(
            [tiny_config, restored],
            tmp_path / 'out',
            cfg_options=QUICK,
            pretrain_options={'model.data_preprocessor.window': [-1000, 400]},
        )


def test_weights_without_the_config_that_makes_them_are_refused(
    tiny_config: Path, tmp_path: Path, monkeypatch
) -> None:
    given = tmp_path / 'given.py'
    given.write_text(
        f"_base_ = ['{tiny_config}']\n"
        "pretrained = dict(weights='mine.safetensors')\n"
    )
    monkeypatch.setattr(ablation, 'run_row', None)

    with pytest.raises(ConfigError, match='given: pretrained.config is miss'):
        ablate([given], tmp_path / 'out', cfg_options=QUICK)


def test_rows_of_other_test_scans_are_refused_before_any_run(
    tiny_config: Path, tmp_path: Path, monkeypatch
) -> None:
    other = tmp_path / 'other.py'
    other.write_text(f"_base_ = ['{tiny_config}']\ntest_series = ['1.0']\n")
    monkeypatch.setattr(ablation, 'run_row', None)

    with pytest.raises(
        ConfigError, match='other: tests different scans than tiny'
    ):
        ablate([tiny_config, other], tmp_path / 'out', cfg_options=QUICK)


@pytest.mark.parametrize('rule', ["read_out='step'", 'max_marks=5'])
def test_rows_of_another_rule_are_refused_before_any_run(
    rule: str, tiny_config: Path, tmp_path: Path, monkeypatch
) -> None:
    other = tmp_path / 'other.py'
    other.write_text(
        f"_base_ = ['{tiny_config}']\ntest_evaluator = dict({rule})\n"
    )
    monkeypatch.setattr(ablation, 'run_row', None)

    with pytest.raises(
        ConfigError, match=r'other: test_evaluator has .*, tiny has'
    ):
        ablate([tiny_config, other], tmp_path / 'out', cfg_options=QUICK)


def test_a_test_without_nodules_is_refused_before_any_run(
    tiny_config: Path, tiny_store: Path, monkeypatch
) -> None:
    records = {
        uid: replace(record, nodules=[])
        for uid, record in CaseStore(tiny_store).records.items()
    }
    monkeypatch.setattr(ablation, 'prepared_records', lambda _: records)
    monkeypatch.setattr(ablation, 'run_row', None)

    with pytest.raises(ConfigError, match='test scans have no nodules'):
        ablate([tiny_config], tiny_store / 'out', cfg_options=QUICK)


def test_configs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='not all different'):
        ablate([tmp_path / 'a.py', tmp_path / 'b' / 'a.py'], tmp_path)
