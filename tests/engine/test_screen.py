"""What a run shows, and what only its log file has."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine import screen
from lungdet.engine.screen import Progress, shown
from tests.engine.runs import NO_VALIDATION

SHORT = {**NO_VALIDATION, 'train_cfg.max_epochs': 1}
LISTS = 'Hooks will be executed in the following order'


def log_of(work_dir: Path) -> str:
    (log,) = work_dir.glob('*/*.log')
    return log.read_text()


def test_training_shows_what_is_waited_for_and_logs_the_rest(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=SHORT)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 3
    assert lines[0].startswith('train tiny: 3 scans, 1 epochs, 4 steps')
    assert lines[-1].endswith('w/last_checkpoint')
    log = log_of(tmp_path / 'w')
    assert LISTS in log and 'Epoch(train) [1][4/4]' in log
    assert all(line in log for line in lines)


def test_verbose_shows_all_that_is_logged(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train(
        tiny_config,
        work_dir=tmp_path / 'w',
        cfg_options=SHORT,
        verbose=True,
    )

    assert LISTS in capsys.readouterr().out


def test_test_shows_the_table_and_its_folder(
    trained: Path,
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    capsys.readouterr()

    run_test(tiny_config, trained, out=tmp_path / 'out')

    shown_text = capsys.readouterr().out
    lines = shown_text.splitlines()
    assert lines[0] == 'test tiny: 2 scans'
    assert 'CPM' in shown_text and 'caveat: few-scans' in shown_text
    assert lines[-1].endswith('/out')
    assert len(lines) < 30 and LISTS not in shown_text
    assert LISTS in log_of(tmp_path / 'out' / 'log')


def test_without_a_terminal_a_line_comes_now_and_then(
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(screen, 'SECONDS', 0.0)

    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=SHORT)

    captured = capsys.readouterr()
    steps = [x for x in captured.out.splitlines() if x.startswith('train: ')]
    assert len(steps) == 4 and 'loss' in steps[0] and 'left' in steps[0]
    assert '\r' not in captured.out + captured.err


def test_terminal_gets_one_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    bar = Progress('train', 3)

    for _ in range(3):
        bar.step(loss='0.5')
    bar.close()

    captured = capsys.readouterr()
    assert 'train 100%' in captured.err and 'loss=0.5' in captured.err
    assert not captured.out


def test_paths_are_shown_from_the_folder_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert shown(tmp_path / 'a' / 'b') == 'a/b'
    assert shown('/elsewhere/c') == '/elsewhere/c'
