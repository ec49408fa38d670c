"""Training and testing a config, and the folders that they write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine.run_manifest import MANIFEST_FILE, RunManifest
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from lungdet.io.luna16 import read_marks
from lungdet.registry import METRICS
from tests.engine.runs import NO_VALIDATION

ROOT = Path(__file__).parents[2]


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


def test_learning_rate_follows_the_batch_when_asked(
    tiny_config: Path, tmp_path: Path
) -> None:
    """A batch of 2 takes an eighth of the rate for one of 16."""
    rates = {}
    for scale in (False, True):
        runner = train(
            tiny_config,
            work_dir=tmp_path / str(scale),
            scale_lr=scale,
            cfg_options={
                **NO_VALIDATION,
                'train_cfg.max_epochs': 1,
                'param_scheduler': None,
            },
        )
        rates[scale] = runner.optim_wrapper.get_lr()['lr'][0]

    assert rates[True] == pytest.approx(rates[False] / 8)


def test_the_backbone_alone_is_compiled(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(
        torch.nn.Module,
        'compile',
        lambda module: compiled.append(type(module).__name__),
    )

    train(
        tiny_config,
        work_dir=tmp_path / 'work',
        compile_backbone=True,
        cfg_options={**NO_VALIDATION, 'train_cfg.max_epochs': 1},
    )

    assert compiled == ['FeatureNet']


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
        ('model.box_border', 8, 'model'),
        ('model.test_cfg.window', (48, 48, 48), 'test_cfg'),
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


def test_whole_test_writes_everything_and_continues(
    trained: Path, tiny_config: Path
) -> None:
    out = trained / 'test'

    first = run_test(tiny_config, trained, out=out)
    scans = sorted((out / 'scans').glob('*.json'))
    stamp = scans[0].stat().st_mtime_ns
    scans[1].unlink()
    second = run_test(tiny_config, trained, out=out)

    assert first == second
    assert scans[0].stat().st_mtime_ns == stamp
    assert scans[1].is_file()
    froc = json.loads((out / 'froc.json').read_text())
    assert {'rates', 'sensitivities', 'cpm', 'counts'} <= set(froc)
    assert set(froc['counts']) == {
        'scans',
        'nodules',
        'tp',
        'fp',
        'fn',
        'candidates',
        'ignored_excluded',
        'ignored_double',
    }
    assert froc['counts']['scans'] == 2 and froc['counts']['nodules'] == 4
    for name in ('submission.csv', 'detections.json', 'froc.png'):
        assert (out / name).stat().st_size > 0
    assert '2 scans of 2 listed' in (out / 'table.txt').read_text()


@METRICS.register_module(force=True)
class CountScans(BaseMetric):
    """A user's metric beside the FROC."""

    default_prefix = 'user'

    def process(self, data_batch: object, data_samples: list[dict]) -> None:
        self.results += [sample['series_uid'] for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {'scans': len(results)}


def test_a_test_takes_several_metrics(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """Also when it goes on: the others keep nothing of a finished scan."""
    froc = {'type': 'FROCMetric', 'bootstrap': 0}
    options = {'test_evaluator': [froc, {'type': 'CountScans'}]}
    out = tmp_path / 'out'

    first = run_test(tiny_config, trained, out=out, cfg_options=options)
    again = run_test(tiny_config, trained, out=out, cfg_options=options)

    assert first == again and first['user/scans'] == 2
    assert len(list((out / 'scans').glob('*.json'))) == 2
    counts_only = [{'type': 'CountScans'}]
    with pytest.raises(ConfigError, match='0 of its metrics score detections'):
        run_test(
            tiny_config,
            trained,
            out=out,
            cfg_options={'test_evaluator': counts_only},
        )


def test_folders_that_cannot_be_used_are_noticed_first(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('')
    below = tmp_path / 'file' / 'below'

    with pytest.raises(OSError, match='cannot be written to.*checkpoints'):
        train(tiny_config, work_dir=below)
    with pytest.raises(OSError, match='cannot be written to.*the results'):
        run_test(tiny_config, trained, out=below)
    (tmp_path / MANIFEST_FILE).write_text('[3]')
    with pytest.raises(
        ConfigError, match=r'manifest\.json: not a lungdet.run'
    ):
        run_test(tiny_config, trained, out=tmp_path)


def test_scans_of_another_lung_filter_are_not_mixed(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    run_test(tiny_config, trained, out=out)

    with pytest.raises(ConfigError, match='with another pipeline;'):
        run_test(
            tiny_config,
            trained,
            out=out,
            cfg_options={'+test_pipeline.0.lung_margin_mm': 8.0},
        )


@pytest.mark.slow
def test_two_processes_test_every_scan_once(
    trained: Path, tiny_config: Path
) -> None:
    single = run_test(tiny_config, trained, out=trained / 'one')
    subprocess.run(
        [
            'bash',
            'tools/dist_test.sh',
            str(tiny_config),
            str(trained),
            '2',
            '--out',
            str(trained / 'two'),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=300,
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PORT': '29517',
            'PYTHONPATH': str(ROOT),
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        },
    )

    one, two = (
        json.loads((trained / n / 'froc.json').read_text())
        for n in ('one', 'two')
    )
    assert one == two
    assert one['cpm'] == single['froc/cpm']


@pytest.mark.slow
def test_given_candidates_are_scored_by_the_roi_head(
    tiny_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    config = {
        'train_cfg.max_epochs': 1,
        'model.train_cfg.rcnn.start_epoch': 1,
        **NO_VALIDATION,
    }
    train(tiny_config, work_dir=tmp_path / 'work', cfg_options=config)
    records = CaseStore(tiny_store).records
    given = {
        uid: [*(n.center_mm for n in records[uid].nodules), (20.5, 11.5, 30.5)]
        for uid in ('1.3', '1.4')
    }
    table = tmp_path / 'candidates.csv'
    table.write_text(
        'seriesuid,coordX,coordY,coordZ,class\n'
        + ''.join(
            f'{uid},{x},{y},{z},0\n'
            for uid, points in given.items()
            for x, y, z in points
        )
    )

    run_test(
        tiny_config,
        tmp_path / 'work',
        out=tmp_path / 'out',
        candidates=table,
        cfg_options={'model.train_cfg.rcnn.start_epoch': 1},
    )

    marks = read_marks(tmp_path / 'out' / 'submission.csv')
    for uid, points in given.items():
        centers, scores = marks[uid]
        assert sorted(centers.round(4).tolist()) == sorted(
            np.round(points, 4).tolist()
        )
        assert ((scores > 0) & (scores < 1)).all()
    froc = json.loads((tmp_path / 'out' / 'froc.json').read_text())
    assert froc['candidates']['candidates'] == 6
    assert froc['candidates']['reached'] == froc['counts']['nodules'] == 4
    # the folder is not mixed with results of another kind
    with pytest.raises(ConfigError, match='candidates; their marks'):
        run_test(tiny_config, tmp_path / 'work', out=tmp_path / 'out')
