from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import lungdet.apis.experiments as module
from lungdet.apis import cross_validate, load_config
from lungdet.apis.experiments import (
    Fold,
    check_fresh,
    check_untrained,
    fold_config,
    make_folds,
    run_fold,
)
from lungdet.engine.run_manifest import MANIFEST_FILE, RunManifest
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_marks
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_luna16
from lungdet.structures import CaseRecord

GRID = Geometry.from_parts(
    (2, 3, 4), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
)


def record(uid: str, subset: int | None, patient: str | None) -> CaseRecord:
    return CaseRecord(
        uid, subset, GRID, GRID, 1.0, [], [], 'given', patient_id=patient
    )


RECORDS = {
    uid: record(uid, subset, patient)
    for uid, subset, patient in (
        ('1.1', 0, 'p'),
        ('1.2', 0, 'p'),
        ('1.3', 2, 'q'),
        ('1.4', 10, None),
        ('1.5', 10, None),
    )
}


def members(folds: list[Fold]) -> dict[str, tuple[str, ...]]:
    return {fold.name: fold.test_series for fold in folds}


def test_subsets_are_folds_in_their_order() -> None:
    found = make_folds('0,2,10', RECORDS, validate=True)

    assert members(found) == {
        '0': ('1.1', '1.2'),
        '2': ('1.3',),
        '10': ('1.4', '1.5'),
    }
    # the next fold chooses the checkpoint, the last one takes the first
    assert [f.val_series for f in found] == [
        ('1.3',),
        ('1.4', '1.5'),
        ('1.1', '1.2'),
    ]
    (one,) = make_folds('2', RECORDS, validate=True)
    assert one == found[1]
    assert make_folds('2', RECORDS, validate=False)[0].val_series == ()
    with pytest.raises(ConfigError, match='no prepared scan is of subset 1'):
        make_folds('0-2', RECORDS, validate=False)


def test_one_scan_a_fold_but_a_patient_stays_whole() -> None:
    found = make_folds('series', RECORDS, validate=False)

    assert members(found) == {
        '1.1': ('1.1', '1.2'),
        '1.3': ('1.3',),
        '1.4': ('1.4',),
        '1.5': ('1.5',),
    }


def test_a_table_of_folds(tmp_path: Path) -> None:
    table = tmp_path / 'folds.csv'
    table.write_text('fold,seriesuid\nb,1.3\na,1.1\na,1.2\nb,1.5\n')

    found = make_folds(str(table), RECORDS, validate=False)

    assert members(found) == {'a': ('1.1', '1.2'), 'b': ('1.3', '1.5')}
    for text, message in (
        ('a,1.1\nb,1.2\n', 'patient p has scans in fold a and in fold b'),
        ('a,1.1\nb,9.9\n', "'9.9' is not among the 5"),
        ('a,1.3\nb,1.3\n', r"in the folds \['a', 'b'\]"),
        ('../a,1.3\nb,1.4\n', 'named by letters'),
        ('a,1.3\na,1.4\n', '1 folds among 5 prepared scans, at least 2'),
    ):
        table.write_text('fold,seriesuid\n' + text)
        with pytest.raises(ConfigError, match=message):
            make_folds(str(table), RECORDS, validate=False)
    with pytest.raises(ConfigError, match='neither subsets'):
        make_folds('nothing.csv', RECORDS, validate=False)


def test_every_data_set_of_the_config_gets_the_fold(tiny_config: Path) -> None:
    fold = Fold('x', ('1.0',), ('1.1',))

    config = fold_config(tiny_config, fold)

    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert config[name].dataset.test_series == ['1.0']
        assert config[name].dataset.val_series == ['1.1']


QUICK = {
    'train_cfg.max_epochs': 1,
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
    '+test_evaluator.bootstrap': 20,
}


def test_place_of_weights_counts_unless_it_is_known_what_they_are(
    tiny_config: Path,
) -> None:
    def digest(weights: str, pretraining: str | None) -> str:
        cfg = load_config(
            tiny_config,
            {'+pretrained': {'weights': weights, 'config': 'g.py'}},
        )
        return module.config_digest(cfg, False, pretraining)

    assert digest('a', 'one') == digest('b', 'one')
    assert digest('a', None) != digest('b', None)


@pytest.mark.slow
def test_folds_are_trained_once_pooled_and_compared(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    # a first process is stopped after fold 0 was trained, before its test
    monkeypatch.setattr(module, 'test', None)
    with pytest.raises(TypeError):
        cross_validate(tiny_config, '0,9', out, cfg_options=QUICK)
    monkeypatch.undo()
    stamp = (out / 'fold_0' / 'train' / 'epoch_1.pth').stat().st_mtime_ns

    found = cross_validate(tiny_config, '0,9', out, cfg_options=QUICK)

    assert (
        out / 'fold_0' / 'train' / 'epoch_1.pth'
    ).stat().st_mtime_ns == stamp
    runs = [RunManifest.read(out / f'fold_{k}' / 'train') for k in (0, 9)]
    assert runs[0].start.weights == runs[1].start.weights
    assert runs[0].start.train_series == ('1.3', '1.4')
    assert runs[1].start.train_series == ('1.0', '1.1', '1.2')
    sizes = {k: s.results['fused'].counts for k, s in found.folds.items()}
    assert [sizes[k]['scans'] for k in ('0', '9')] == [3, 2]
    # pooled: the same marks once more, over five scans
    pooled = found.pooled.results['fused']
    assert pooled.counts['scans'] == 5 and pooled.counts['nodules'] == 10
    for key in ('tp', 'fp', 'candidates'):
        assert pooled.counts[key] == sum(s[key] for s in sizes.values())
    marks = read_marks(out / 'pooled' / 'submission.csv')
    assert sum(len(s) for _, s in marks.values()) >= pooled.counts['tp']
    text = (out / 'pooled' / 'folds.txt').read_text()
    assert '5 scans of 5 listed, 10 nodules' in text
    assert 'fold 9' in text and 'mean of the CPMs of 2 folds' in text
    # done runs are read back; other options are another run
    monkeypatch.setattr(module, 'train', None)
    again = cross_validate(tiny_config, '0,9', out, cfg_options=QUICK)
    assert again.pooled.to_dict() == found.pooled.to_dict()
    rescored = cross_validate(
        tiny_config,
        '0,9',
        out,
        cfg_options={**QUICK, '+test_evaluator.read_out': 'step'},
    )
    assert rescored.pooled.results['fused'].read_out == 'step'
    with pytest.raises(ConfigError, match='another config'):
        cross_validate(
            tiny_config,
            '0,9',
            out,
            cfg_options={**QUICK, 'train_cfg.max_epochs': 2},
        )


@pytest.mark.slow
def test_trained_series_and_stale_weights_are_refused(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(tiny_config, QUICK)
    fold = Fold('x', ('1.0', '1.1', '1.2'))
    run_fold(config, fold, tmp_path / 'x')

    # the same training, said to have seen a series that is tested
    (tmp_path / 'x' / 'test' / MANIFEST_FILE).unlink()
    manifest = RunManifest.read(tmp_path / 'x' / 'train')
    start = replace(manifest.start, train_series=('1.3', '1.1'))
    replace(manifest, start=start).write(tmp_path / 'x' / 'train')
    with pytest.raises(ConfigError, match='series 1.1 was trained on'):
        run_fold(config, fold, tmp_path / 'x')


def test_folds_that_did_not_start_fresh_are_refused() -> None:
    check_fresh({'a': 'one', 'b': 'one'})
    with pytest.raises(ConfigError, match='fold b: training did not start'):
        check_fresh({'a': 'one', 'b': 'two'})


def test_a_patient_on_both_sides_is_refused(tiny_store: Path) -> None:
    records = {
        uid: replace(r, patient_id='same')
        for uid, r in CaseStore(tiny_store).records.items()
    }

    with pytest.raises(ConfigError, match='patient same was trained on'):
        check_untrained(Fold('x', ('1.0',)), ['1.3'], records)


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
