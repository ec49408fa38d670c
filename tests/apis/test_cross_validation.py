from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lungdet.apis import cross_validate, fold_run
from lungdet.apis.cross_validation import check_fresh
from lungdet.engine.run_manifest import RunManifest
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_marks
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_luna16
from tests.apis.quick_run import QUICK


@pytest.mark.slow
def test_folds_are_trained_once_pooled_and_compared(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    # a first process is stopped after fold 0 was trained, before its test
    monkeypatch.setattr(fold_run, 'test', None)
    with pytest.raises(TypeError):
        cross_validate(tiny_config, '0,9', out, cfg_options=QUICK)
    monkeypatch.undo()
    stamp = (out / 'fold_0' / 'train' / 'epoch_1.pth').stat().st_mtime_ns

    result = cross_validate(tiny_config, '0,9', out, cfg_options=QUICK)

    assert (
        out / 'fold_0' / 'train' / 'epoch_1.pth'
    ).stat().st_mtime_ns == stamp
    runs = [RunManifest.read(out / f'fold_{k}' / 'train') for k in (0, 9)]
    assert runs[0].start.weights == runs[1].start.weights
    assert runs[0].start.train_series == ('1.3', '1.4')
    assert runs[1].start.train_series == ('1.0', '1.1', '1.2')
    sizes = {k: s.result.counts for k, s in result.folds.items()}
    assert [sizes[k]['scans'] for k in ('0', '9')] == [3, 2]
    # pooled: the same detections once more, over five scans
    pooled = result.pooled.result
    assert pooled.counts['scans'] == 5 and pooled.counts['nodules'] == 10
    for key in ('tp', 'fp', 'candidates'):
        assert pooled.counts[key] == sum(s[key] for s in sizes.values())
    marks = read_marks(out / 'pooled' / 'submission.csv')
    assert sum(len(s) for _, s in marks.values()) >= pooled.counts['tp']
    text = (out / 'pooled' / 'folds.txt').read_text()
    assert '5 scans of 5 listed, 10 nodules' in text
    assert 'fold 9' in text and 'mean of the CPMs of 2 folds' in text
    # done runs are read back; other options are another run
    monkeypatch.setattr(fold_run, 'train', None)
    # a part of the folds does not replace the whole
    cross_validate(tiny_config, '9', out, cfg_options=QUICK)
    part = (out / 'pooled_9' / 'folds.txt').read_text()
    assert '2 scans of 2 listed' in part
    assert (out / 'pooled' / 'folds.txt').read_text() == text
    again = cross_validate(tiny_config, '0,9', out, cfg_options=QUICK)
    assert again.pooled.to_dict() == result.pooled.to_dict()
    rescored = cross_validate(
        tiny_config,
        '0,9',
        out,
        cfg_options={**QUICK, '+test_evaluator.read_out': 'step'},
    )
    assert rescored.pooled.result.read_out == 'step'
    with pytest.raises(ConfigError, match='another config'):
        cross_validate(
            tiny_config,
            '0,9',
            out,
            cfg_options={**QUICK, 'train_cfg.max_epochs': 2},
        )


def test_folds_that_did_not_start_fresh_are_refused() -> None:
    check_fresh({'a': 'one', 'b': 'one'})
    with pytest.raises(ConfigError, match='fold b: training did not start'):
        check_fresh({'a': 'one', 'b': 'two'})


@pytest.mark.slow
def test_the_command_on_phantoms(tiny_config: Path, tmp_path: Path) -> None:
    write_luna16_phantoms(
        tmp_path / 'scans', scans=3, seed=2, size='small', progress=False
    )
    prepare_luna16(tmp_path / 'scans', tmp_path / 'made', progress=False)
    options = {**QUICK, 'data_root': tmp_path / 'made'}
    options['model.test_cfg.window'] = '[64,64,64]'

    done = subprocess.run(
        [
            sys.executable,
            'tools/cross_val.py',
            str(tiny_config),
            *('--folds', 'series', '--out', str(tmp_path / 'out')),
            '--cfg-options',
            *(f'{key}={value}' for key, value in options.items()),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': '.', 'OMP_NUM_THREADS': '1'},
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert '3 scans of 3 listed' in done.stdout
    assert done.stdout.count('| fold ') == 3
    marks = read_marks(tmp_path / 'out' / 'pooled' / 'submission.csv')
    assert set(marks) <= set(CaseStore(tmp_path / 'made').records)
