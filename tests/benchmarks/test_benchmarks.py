"""The benchmarks run; their figures are not checked."""

from __future__ import annotations

import importlib
import math
import runpy
import sys
import time
from pathlib import Path

import pytest

from benchmarks import (
    demo,
    froc,
    gpu,
    peak,
    pretraining,
    run,
    threads,
    train_throughput,
)

PARTS = (  # used by other benchmarks
    'impression_features',
    'insertion_pairs',
    'monai_retinanet',
    'peak',
    'roc',
)
MODULES = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / 'benchmarks').glob('[!_]*.py')
    if path.stem not in PARTS
)


def run_main(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'argv', [name, *words])
    importlib.import_module(f'benchmarks.{name}').main()


@pytest.mark.parametrize('name', MODULES)
def test_help_is_printed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit, match='0'):
        run_main(name, ['--help'], monkeypatch)

    assert capsys.readouterr().out.startswith('usage: ')


@pytest.mark.filterwarnings('ignore:.* found in sys.modules:RuntimeWarning')
@pytest.mark.parametrize(
    'command',
    [
        'backends missing',
        'blobs missing',
        'froc_mistakes missing.csv',
        'impressions missing.npz',
        'inference missing',
        'insertion missing missing missing.npz',
        'insertion_sheet missing missing missing.npz out.png',
        'insertion_time missing missing.npz',
        'lungs missing',
        'matching missing.py',
        'pretraining --store missing',
        'pretraining_proxy out --start full=missing.safetensors',
        'pretraining_proxy out --cfg-options train_cfg.epochs=1',
        'run --store missing',
        'shams missing.pth missing',
    ],
)
def test_wrong_input_is_one_line(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *words = command.split()
    monkeypatch.setattr(sys, 'argv', [name, *words])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_module(f'benchmarks.{name}', run_name='__main__')

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'benchmarks.{name}: ')


@pytest.mark.slow
def test_cost_of_a_sample_is_compared_with_the_published_one(
    tiny_store: Path,
) -> None:
    rows = run.bench_loader(tiny_store, 32)

    assert [row[0].split(', ')[1] for row in rows] == [
        'flips',
        'scale and rotation',
        'published pipeline',
    ]
    assert rows[-1][2] == '1.00'


def test_cost_of_phantoms() -> None:
    ((what, cost, _),) = run.bench_phantom()

    assert what.startswith('small phantoms') and float(cost) > 0


@pytest.mark.slow
def test_parts_of_a_training_step_and_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fastest = run.precisions()[:1]
    monkeypatch.setattr(run, 'precisions', lambda: fastest)

    whole, *parts = run.bench_step(32)
    ((what, both, _),) = run.bench_windows([32])

    assert whole[2] == '1.00' and len(parts) == 2
    assert what.startswith('window 32^3') and both.count(',') == 1


@pytest.mark.slow
def test_pairs_of_pretraining(
    tiny_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    words = ['--pairs', '2', '--store', str(tiny_store)]

    run_main('pretraining', words, monkeypatch)

    text = capsys.readouterr().out
    assert '| pair ' in text and '| sample from the store' in text


@pytest.mark.slow
def test_attention_plugins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = ['--side', '32', '--runs', '1', '--plugins', 'SE3D']

    run_main('attention', words, monkeypatch)

    assert '| SE3D ' in capsys.readouterr().out


def test_benchmark_of_froc_scores_whole_submissions() -> None:
    nodules, marks, uids = froc.submission()

    assert len(uids) == len(marks) == froc.SCANS
    assert sum(len(centers) for centers, _ in nodules.values()) == froc.NODULES
    assert pretraining.CONFIG.is_file()


@pytest.mark.slow
def test_ways_to_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(threads, 'MIN_ROUNDS', 1)
    words = ['--seconds', '0', '--side', '32', '--batch', '2']

    run_main('threads', words, monkeypatch)

    text = capsys.readouterr().out
    assert all(f'| {way} ' in text for way in threads.WAYS)
    assert all(name in text for name in ('idle', 'beside 1', 'beside 2'))


TRIAL = ['--side', '16', '--batch', '2', '--steps', '1', '--no-compile']


@pytest.mark.slow
def test_training_steps_of_a_gpu_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    # torch's bfloat16 backward pass of the permuting module takes minutes
    # with two threads on some CPUs, seconds with one
    monkeypatch.setenv('OMP_NUM_THREADS', '1')

    run_main('gpu', TRIAL, monkeypatch)

    text = capsys.readouterr().out
    assert 'TFLOP/s' in text and '2 crops of 16^3' in text
    for name in gpu.BACKBONES:
        (cells,) = (
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in text.splitlines()
            if line.startswith(f'| {name} ')
        )
        assert float(cells[2]) > 0 and cells[4].endswith('%')


@pytest.mark.slow
def test_training_crops_per_second() -> None:
    header, *rows = train_throughput.table(1, {'lungdet_s': ((32, 2),)})

    assert header[-2:] == ['crops/s', 'waits a step']
    assert len(rows) == len(run.precisions())
    assert all(float(row[3]) > 0 and int(row[4]) <= 10 for row in rows)


def test_a_row_that_takes_long_is_ended_with_the_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Python alone takes longer to start than the time that is left."""
    start = time.monotonic()
    end = start + 0.02

    ended = gpu.measured(['--child', 'base', *TRIAL], end)
    later = gpu.measured(['--child', 'base', *TRIAL], end)
    run_main('gpu', [*TRIAL, '--minutes', '0'], monkeypatch)

    assert ended == later == gpu.NO_TIME
    assert capsys.readouterr().out == 'convolution: no time left\n'
    assert time.monotonic() - start < 5


def test_a_row_that_fails_says_why() -> None:
    words = ['--child', 'no such backbone', '--side', '32']

    assert gpu.measured(words, time.monotonic() + 100).startswith('KeyError')


@pytest.mark.slow
def test_training_of_the_demo_beside_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(demo, 'SCANS', 12)

    run_main('demo', ['--busy', '1', '--epochs', '1'], monkeypatch)

    text = capsys.readouterr().out
    assert '| alone ' in text and '| beside 1 ' in text and 'bound' in text


def test_peak_memory_where_the_system_does_not_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 0.01 < peak.peak_gb() < 1000
    monkeypatch.setattr(peak, 'resource', None)

    assert math.isnan(peak.peak_gb())
