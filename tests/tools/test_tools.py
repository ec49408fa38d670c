"""Tools parse, call and print; their errors are one line."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted((ROOT / 'tools').rglob('*.py'))


def run_tool(tool: str, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / 'tools' / tool), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )


@pytest.mark.parametrize(
    ('tool', 'words', 'message'),
    [
        ('train.py', ['nothing.py'], 'train.py: nothing.py: no such config'),
        ('test.py', ['{wrong}', 'x'], "nothing reads the key 'trian_cfg'"),
        ('misc/print_config.py', ['{wrong}'], "did you mean 'train_cfg'"),
        ('misc/print_provenance.py', ['x.safetensors'], 'no such weights'),
        (
            'model_converters/publish_model.py',
            ['x.pth', '--froc', 'run', '--name', 'x', '--out', 'out'],
            'x.pth: no checkpoint there',
        ),
        ('analysis_tools/get_flops.py', ['{wrong}'], "'trian_cfg'"),
        ('analysis_tools/browse_dataset.py', ['no', 'out'], 'index.json'),
    ],
)
def test_tools_stop_in_one_line(
    tmp_path: Path, tool: str, words: list[str], message: str
) -> None:
    wrong = tmp_path / 'wrong.py'
    wrong.write_text('trian_cfg = dict()\n')

    done = run_tool(
        tool, *(word.format(wrong=wrong) for word in words), cwd=tmp_path
    )

    assert done.returncode == 2
    assert message in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'words',
    [
        ['tools/misc/print_config.py', 'configs/nodulenet_base.py'],
        ['-m', 'lungdet.cli', 'froc', '--help'],
    ],
    ids=['tool', 'help'],
)
def test_output_that_nobody_reads_ends_a_program_without_a_word(
    words: list[str],
) -> None:
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.close()  # as head does

    _, errors = process.communicate()

    assert not errors
    assert process.returncode in (0, 141)  # argparse hides it


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.stem)
def test_tool_is_short_and_says_what_it_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert len(path.read_text().splitlines()) <= 80

    monkeypatch.setattr(sys, 'argv', [path.name, '--help'])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name='__main__')

    assert not stopped.value.code
    assert capsys.readouterr().out.startswith('usage: ')
