"""The container's entry point, run as the platform does: without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis import NoduleInferencer
from tests.apis.scans import write_scans

ROOT = Path(__file__).resolve().parents[2]
ENTRY = ROOT / 'docker' / 'entry_point.py'
# where a process may have no network of its own: one that cannot be used
NO_SOCKETS = """
import socket
def refuse(*given, **more): raise OSError('no network')
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.socket.bind = refuse
"""


def without_network() -> list[str]:
    """Words before a command that take its network away, if possible."""
    words = ['unshare', '--net', '--map-root-user']
    if shutil.which('unshare') is None:
        return []
    done = subprocess.run([*words, 'true'], capture_output=True)
    return words if done.returncode == 0 else []


def run(tmp_path: Path) -> subprocess.CompletedProcess:
    home = tmp_path / 'home'
    home.mkdir()
    (home / 'sitecustomize.py').write_text(NO_SOCKETS)
    return subprocess.run(
        [
            *(*without_network(), sys.executable, str(ENTRY)),
            *('--input', str(tmp_path / 'input')),
            *('--output', str(tmp_path / 'output')),
        ],
        cwd=home,
        env={
            'PATH': os.environ['PATH'],
            'HOME': str(home),
            'TMPDIR': str(tmp_path / 'tmp'),
            'MPLCONFIGDIR': str(tmp_path / 'tmp'),
            'XDG_CACHE_HOME': str(tmp_path / 'tmp'),
            'PYTHONDONTWRITEBYTECODE': '1',
            'PYTHONPATH': os.pathsep.join([str(home), str(ROOT)]),
            'OMP_NUM_THREADS': '1',
        },
        capture_output=True,
        text=True,
    )


@pytest.fixture
def given(tmp_path: Path) -> Path:
    for name in ('input/images/ct', 'output', 'tmp'):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.slow
def test_one_scan_becomes_points(given: Path) -> None:
    images = given / 'input' / 'images' / 'ct'
    write_scans(images, ['2c9d3a1e-uuid'])
    (given / 'input' / 'inputs.json').write_text('[]')
    before = {path: path.stat().st_mtime_ns for path in images.rglob('*')}

    done = run(given)

    assert done.returncode == 0, done.stderr
    assert {path.name for path in (given / 'output').iterdir()} == {
        'nodule-locations.json'
    }
    text = (given / 'output' / 'nodule-locations.json').read_text()
    points = json.loads(text)
    assert {*points} == {'name', 'type', 'points', 'version'}
    assert points['type'] == 'Multiple points'
    assert points['version'] == {'major': 1, 'minor': 0}
    expected = NoduleInferencer(device='cpu', precision='fp32')(
        images / '2c9d3a1e-uuid.mha'
    )
    assert len(points['points']) == len(expected.detections)
    for point, detection in zip(points['points'], expected.detections):
        assert {*point} == {'name', 'point', 'probability'}
        np.testing.assert_allclose(point['point'], detection.center_mm, atol=1)
        assert point['probability'] == pytest.approx(detection.score, abs=0.02)
    # nothing else is written, and nothing of the input changes
    assert {path.name for path in (given / 'home').iterdir()} == {
        'sitecustomize.py'
    }
    assert {p: p.stat().st_mtime_ns for p in images.rglob('*')} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ('names', 'reason'),
    [
        ([], '0 files at images'),
        (['a.mha', 'b.mha'], '2 files at images'),
        (['a.mha'], 'a.mha'),
    ],
)
def test_other_input_ends_in_one_line(
    given: Path, names: list[str], reason: str
) -> None:
    for name in names:
        (given / 'input' / 'images' / 'ct' / name).write_text('no image')

    done = run(given)

    assert done.returncode == 2
    assert done.stderr.count('\n') == 1 and reason in done.stderr
    assert not list((given / 'output').iterdir())


def test_the_recipe_runs_it_without_privileges() -> None:
    recipe = (ROOT / 'docker' / 'Dockerfile').read_text(encoding='utf-8')
    lines = recipe.splitlines()

    assert lines[-1] == 'ENTRYPOINT ["python", "/opt/entry_point.py"]'
    assert lines.index('USER user') < len(lines) - 1
    copied = re.findall(r'^COPY (\S+)|cp \S*?/lungdet/(\S+)', recipe, re.M)
    for source in (a or b for a, b in copied):
        assert (ROOT / source).exists()
    torch = re.search(r'torch==(\S+)', recipe)
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    assert torch and f'TORCH ?= torch=={torch[1]}' in makefile
