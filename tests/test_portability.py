"""The commands run where POSIX's modules, functions and folders are not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.conftest import TINY, write_tiny_store
from tests.other_machine import (
    POSIX_FUNCTIONS,
    POSIX_MODULES,
    POSIX_SIGNALS,
    environment,
)

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path
    for folder in ('lungdet', 'tools', 'benchmarks')
    for path in sorted((ROOT / folder).rglob('*.py'))
]
CLI = ('-m', 'lungdet.cli')


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / 'first'
    folder.mkdir()
    return environment(folder)


def run(
    environ: dict[str, str], *words: object
) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        encoding='cp1252',
    )
    assert done.returncode == 0, f'{words}: {done.stderr[-3000:]}'
    return done


def test_the_machine_is_another_one(machine: dict[str, str]) -> None:
    code = (
        'import os, signal, multiprocessing as mp;'
        'print(hasattr(os, "fork"), hasattr(signal, "SIGKILL"));'
        'print(mp.get_start_method())\n'
        'for use in ("import resource", "os.open(\'/\', os.O_RDONLY)"):\n'
        '    try: exec(use)\n'
        '    except (ImportError, PermissionError) as error: print(error)'
    )

    lines = run(machine, '-c', code).stdout.splitlines()

    assert lines == [
        'False False',
        'spawn',
        "No module named 'resource'",
        "[Errno 13] Permission denied: '/'",
    ]


def test_scans_are_written_prepared_and_verified(
    machine: dict[str, str], tmp_path: Path
) -> None:
    scans, cases = tmp_path / 'scans', tmp_path / 'cases'

    run(
        *(machine, *CLI, 'phantom', scans, '--scans', 2, '--jobs', 2),
        *('--size', 'small'),
    )
    run(machine, *CLI, 'prepare', 'luna16', scans, cases, '--jobs', 2)

    assert '2 cases' in run(machine, *CLI, 'verify', cases).stdout
    tool = ROOT / 'tools' / 'analysis_tools' / 'browse_dataset.py'
    run(machine, tool, cases, tmp_path / 'pictures', '--max', 1)
    assert len(list((tmp_path / 'pictures').iterdir())) == 1


@pytest.mark.slow
def test_a_detector_is_trained_tested_and_used(
    machine: dict[str, str], tmp_path: Path
) -> None:
    store = write_tiny_store(tmp_path / 'cases')
    config, work = tmp_path / 'tiny.py', tmp_path / 'work'
    text = TINY.format(configs=ROOT / 'configs', data=store)
    config.write_text(text, encoding='utf-8')
    scans, tools = tmp_path / 'scans', ROOT / 'tools'
    options = (
        *('--cfg-options', 'train_cfg.max_epochs=2'),
        *('train_dataloader.num_workers=1', 'test_dataloader.num_workers=1'),
    )

    run(*(machine, tools / 'train.py', config, '--work-dir', work, *options))
    run(
        *(machine, tools / 'train.py', config, '--work-dir', work),
        *('--resume', *options, 'train_cfg.max_epochs=3'),
    )
    run(
        *(machine, tools / 'test.py', config, work),
        *('--out', tmp_path / 'test', *options),
    )
    run(machine, tools / 'analysis_tools' / 'analyze_logs.py', work)
    run(machine, *CLI, 'phantom', scans, '--scans', 1, '--size', 'small')
    (scan,) = scans.glob('subset*/*.mhd')
    run(
        *(machine, *CLI, 'infer', scan, '--weights', work),
        *('--out', tmp_path / 'one'),
    )

    assert (tmp_path / 'test' / 'detections.json').is_file()
    assert list((tmp_path / 'one').iterdir())


def unguarded_imports(path: Path) -> list[str]:
    """POSIX modules that a file imports outside of a ``try``."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try)
        for statement in block.body
        for node in ast.walk(statement)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or '')
    return [name for name in names if name.split('.')[0] in POSIX_MODULES]


def unguarded_names(path: Path) -> list[str]:
    """Names of ``os`` and ``signal`` that a file uses and does not look for
    by ``hasattr`` or ``getattr``."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    looked_for = {
        node.args[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, 'id', '') in ('hasattr', 'getattr')
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    }
    missing = {*POSIX_FUNCTIONS, *POSIX_SIGNALS} - looked_for
    return [
        f'{node.value.id}.{node.attr}'
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ('os', 'signal')
        and node.attr in missing
    ]


def unnamed_encodings(path: Path) -> list[int]:
    """Lines that open text without its encoding, which systems differ in, or
    write it by ``Path``, which systems give different line ends."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
        keywords = {keyword.arg for keyword in node.keywords}
        words = [w.value for w in node.args if isinstance(w, ast.Constant)]
        binary = any(isinstance(w, str) and 'b' in w for w in words)
        opens = isinstance(node.func, ast.Name) and name == 'open'
        if name == 'write_text' and isinstance(node.func, ast.Attribute):
            if 'lungdet' in path.parts:
                lines.append(node.lineno)
        if name == 'read_text' and not node.args or opens and not binary:
            if 'encoding' not in keywords:
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    'path', SOURCES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_sources_assume_no_system(path: Path) -> None:
    assert not unguarded_imports(path)
    assert not unguarded_names(path)
    assert not unnamed_encodings(path)
