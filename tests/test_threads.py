"""Threads are chosen before torch loads, and what a user set stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lungdet import threads
from lungdet.threads import (
    SHORT_SPIN,
    THREAD_VARIABLES,
    available_cpus,
    set_one_thread,
    set_thread_number,
    set_threads,
)

ROOT = Path(__file__).resolve().parent.parent
TOOLS = sorted((ROOT / 'tools').rglob('*.py'))
# stands where torch would be imported: says what OpenMP would read
FAKE_TORCH = """
import os
print('spin', os.environ.get('GOMP_SPINCOUNT'), flush=True)
os._exit(77)
"""


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, 'sched_getaffinity', lambda _: set(range(8)), raising=False
    )


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return root


QUOTAS = {
    'no control groups': ({}, 8),
    'version 2': (
        {
            'proc/self/cgroup': '0::/pod/app\n',
            'sys/fs/cgroup/pod/app/cpu.max': '250000 100000\n',
        },
        2,
    ),
    'version 2, of a parent': (
        {
            'proc/self/cgroup': '0::/pod/app\n',
            'sys/fs/cgroup/pod/cpu.max': '300000 100000\n',
            'sys/fs/cgroup/pod/app/cpu.max': 'max 100000\n',
        },
        3,
    ),
    'version 2, path of the host': (
        {
            'proc/self/cgroup': '0::/../../pod\n',
            'sys/fs/cgroup/cpu.max': '50000 100000\n',
        },
        1,
    ),
    'version 1': (
        {
            'proc/self/cgroup': '4:memory:/a\n2:cpu,cpuacct:/docker/1\n',
            'sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us': '200000\n',
            'sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us': '100000\n',
        },
        2,
    ),
    'version 1, in a container': (
        {
            'proc/self/cgroup': '2:cpuacct,cpu:/docker/1\n',
            'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '400000\n',
            'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
        },
        4,
    ),
    'version 1, no limit': (
        {
            'proc/self/cgroup': '2:cpu:/\n',
            'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
            'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
        },
        8,
    ),
    'a quota beyond the affinity': (
        {
            'proc/self/cgroup': '0::/\n',
            'sys/fs/cgroup/cpu.max': '6400000 100000\n',
        },
        8,
    ),
    'a name with spaces': (
        {
            'proc/self/cgroup': '0::/my pod\n',
            'sys/fs/cgroup/my pod/cpu.max': '100000 100000\n',
        },
        1,
    ),
    'garbage': (
        {'proc/self/cgroup': '\n::\n0::/\n', 'sys/fs/cgroup/cpu.max': 'x y z'},
        8,
    ),
}


@pytest.mark.usefixtures('eight_cpus')
@pytest.mark.parametrize(('files', 'cpus'), QUOTAS.values(), ids=QUOTAS.keys())
def test_quota_limits_threads(
    files: dict[str, str], cpus: int, tmp_path: Path
) -> None:
    root = system(tmp_path, files)
    environ: dict[str, str] = {}

    assert available_cpus(root) == cpus
    set_threads(environ, root)

    # without a quota OpenMP chooses itself
    expected = {} if cpus == 8 else {'OMP_NUM_THREADS': str(cpus)}
    assert environ == {**SHORT_SPIN, **expected}


def test_a_system_without_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)

    assert available_cpus(tmp_path) == 6
    monkeypatch.setattr(os, 'cpu_count', lambda: None)
    assert available_cpus(tmp_path) == 1


@pytest.mark.usefixtures('eight_cpus')
@pytest.mark.parametrize(
    'given',
    [
        {'OMP_WAIT_POLICY': 'ACTIVE'},
        {'GOMP_SPINCOUNT': '5'},
        {'KMP_BLOCKTIME': '200'},
    ],
)
def test_a_given_way_to_wait_stays(
    given: dict[str, str], tmp_path: Path
) -> None:
    environ = dict(given)

    set_threads(environ, tmp_path)

    assert environ == given


@pytest.mark.usefixtures('eight_cpus')
def test_a_given_number_of_threads_stays(tmp_path: Path) -> None:
    files, _ = QUOTAS['version 2']
    environ = {'OMP_NUM_THREADS': '5'}

    set_threads(environ, system(tmp_path, files))
    set_one_thread(environ)

    assert environ['OMP_NUM_THREADS'] == '5'
    assert environ['GOMP_SPINCOUNT'] == SHORT_SPIN['GOMP_SPINCOUNT']
    others = set(THREAD_VARIABLES) - {'OMP_NUM_THREADS'}
    assert all(environ[name] == '1' for name in others)


def test_a_wanted_number_replaces_what_is_set() -> None:
    environ = {'OMP_NUM_THREADS': '5'}

    set_thread_number(3, environ)

    assert all(environ[name] == '3' for name in THREAD_VARIABLES)


PROGRAMS = [
    *([str(path)] for path in TOOLS if path.name != 'demo.py'),
    [str(ROOT / 'docker' / 'entry_point.py')],
    ['-m', 'lungdet.cli', 'infer', 'scan', '--weights', 'w', '--out', 'out'],
    ['-m', 'lungdet.cli', 'serve', '--out', 'out', '--port', '0'],
    ['-m', 'lungdet.cli', 'export-onnx', '--out', 'out'],
]
WORDS = {
    'train.py': ['config.py'],
    'test.py': ['config.py', 'weights'],
    'ablate.py': ['config.py'],
    'cross_val.py': ['config.py'],
    'print_config.py': ['config.py'],
    'get_flops.py': ['config.py'],
    'compare_fusions.py': ['config.py', 'weights', '--out', 'out'],
    'print_provenance.py': ['weights.pth'],
    'entry_point.py': ['--output', 'out'],
    'publish_model.py': ['w.pth', '--froc', 'run', '--name', 'n'],
}


def run_without_torch(
    folder: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run Python to the first import of torch."""
    (folder / 'torch').mkdir()
    (folder / 'torch' / '__init__.py').write_text(FAKE_TORCH)
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in threads.WAIT_VARIABLES
    }
    environ['PYTHONPATH'] = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    'program',
    PROGRAMS,
    ids=lambda program: Path(program[2 * (program[0] == '-m')]).stem,
)
def test_programs_choose_before_they_import_torch(
    program: list[str], tmp_path: Path
) -> None:
    name = Path(program[0]).name
    if 'serve' in program:
        pytest.importorskip('fastapi')

    done = run_without_torch(tmp_path, *program, *WORDS.get(name, []))

    if 'serve' in program:  # its worker imports torch, and ends
        assert done.returncode == 2 and 'ended with code 77' in done.stderr
        assert done.stdout.splitlines()[-1] == 'spin 1000'
    elif name in WORDS or program[0] == '-m':
        assert done.returncode == 77
        assert done.stdout.splitlines()[-1] == 'spin 1000'
    else:
        assert 'spin' not in done.stdout  # needs no torch


BENCHMARKS = sorted((ROOT / 'benchmarks').glob('[!_]*.py'))


@pytest.mark.parametrize('path', BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_choose_before_they_import_torch(
    path: Path, tmp_path: Path
) -> None:
    done = run_without_torch(tmp_path, '-c', f'import benchmarks.{path.stem}')

    assert done.stdout in ('spin 1000\n', '') and not done.stderr
    assert done.returncode == (77 if done.stdout else 0)
