from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lungdet.deploy import runtimes
from lungdet.deploy.runtimes import RUNTIMES, require
from lungdet.errors import ConfigError
from tests.deploy.scene import write_sum_graph

PARAMS = [
    'onnxruntime',
    pytest.param('openvino', marks=pytest.mark.slow),
]


@pytest.mark.parametrize('runtime', PARAMS)
def test_a_graph_is_a_function_of_tensors(
    runtime: str, tmp_path: Path
) -> None:
    pytest.importorskip('onnx', reason="pip install 'lungdet[onnx]'")
    pytest.importorskip(runtime, reason=f"pip install 'lungdet[{runtime}]'")
    write_sum_graph(tmp_path / 'g.onnx')
    run = RUNTIMES[runtime](tmp_path / 'g.onnx', 'fp32')
    (tmp_path / 'g.onnx').unlink()  # must be loaded completely

    for rows in (1, 5, 3):
        a, b = torch.randn(2, 2, rows)  # not contiguous after .T
        total, difference = run(a.T, b.T)
        first = total.clone()
        run(a.T * 0, b.T * 0)

        assert torch.equal(total, (a + b).T)
        assert torch.equal(difference, (a - b).T)
        assert torch.equal(total, first)  # not overwritten by a later run


SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from lungdet.deploy.runtimes import RUNTIMES
graphs = [RUNTIMES['openvino'](Path(sys.argv[1]), 'fp32') for _ in range(3)]
while graphs:
    del graphs[0]  # the oldest first
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print('handled', flush=True))
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.slow
def test_signals_are_handled_after_graphs_are_gone(tmp_path: Path) -> None:
    pytest.importorskip('onnx', reason="pip install 'lungdet[onnx]'")
    pytest.importorskip('openvino', reason="pip install 'lungdet[openvino]'")
    write_sum_graph(tmp_path / 'g.onnx')

    done = subprocess.run(
        [sys.executable, '-c', SIGNALLED, str(tmp_path / 'g.onnx')],
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr


@pytest.mark.parametrize(
    ('runtime', 'extra'), [('onnxruntime', 'onnx'), ('openvino', 'openvino')]
)
def test_a_missing_library_is_named_with_its_extra(
    runtime: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {'onnx'}
    monkeypatch.setattr(
        runtimes, 'find_spec', lambda name: name if name in there else None
    )

    with pytest.raises(ConfigError) as caught:
        require(runtime)

    assert f'needs onnxscript and {runtime}' in str(caught.value)
    assert f"pip install 'lungdet[{extra}]'" in str(caught.value)
    there |= {'onnxscript', runtime}
    require(runtime)


def test_onnx_runtime_has_no_bfloat16(tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime', reason="pip install 'lungdet[onnx]'")

    with pytest.raises(ConfigError, match='precision: bf16, but ONNX Runtime'):
        RUNTIMES['onnxruntime'](tmp_path / 'none.onnx', 'bf16')


@pytest.mark.slow
def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    """By default, importing OpenVINO sends an event to Google Analytics."""
    pytest.importorskip('openvino', reason="pip install 'lungdet[openvino]'")
    write_sum_graph(tmp_path / 'g.onnx')
    code = (
        'import sys, pathlib\n'
        'from lungdet.deploy.runtimes import RUNTIMES\n'
        f"RUNTIMES['openvino'](pathlib.Path({str(tmp_path / 'g.onnx')!r}), "
        "'fp32')\n"
        "names = [n for n in sys.modules if n.startswith('openvino')]\n"
        'assert len(names) > 3\n'
        "assert not [n for n in names if 'openvino_telemetry' in n], names\n"
        "assert 'openvino.tools.ovc.telemetry_stub' in names\n"
    )

    subprocess.run([sys.executable, '-c', code], check=True)
