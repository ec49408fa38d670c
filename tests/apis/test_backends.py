from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet import deploy
from lungdet.apis import NoduleInferencer, backends
from lungdet.apis.backends import check_backend, set_backend
from lungdet.errors import ConfigError
from lungdet.phantom import write_luna16_phantoms
from lungdet.structures import SeriesResult


def test_what_cannot_run_is_refused_before_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / 'none.pth'

    with pytest.raises(ConfigError, match="'tensorrt'; choose torch, onnx"):
        NoduleInferencer(missing, backend='tensorrt')
    with pytest.raises(ConfigError, match='openvino runs on the CPU, not on'):
        check_backend('openvino', 'cuda')
    monkeypatch.setattr(deploy.runtimes, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'lungdet\[openvino"):
        NoduleInferencer(missing, device='cpu', backend='openvino')
    check_backend('torch', 'cuda')


@pytest.mark.parametrize(
    ('precision', 'taken'), [('auto', 'fp32'), ('fp32', 'fp32')]
)
def test_other_backends_take_float32_by_themselves(
    precision: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, 'graph_detector', lambda *words: words)
    monkeypatch.setattr(backends, 'computes_bfloat16', lambda kind: True)

    model, used = set_backend('net', 'cpu', 'openvino', precision)

    assert model == ('net', 'openvino', taken) and used == (taken, None)
    assert set_backend('net', 'cpu', 'openvino', 'bf16')[1] == ('bf16', None)
    monkeypatch.setattr(backends, 'computes_bfloat16', lambda kind: False)
    with pytest.raises(ConfigError, match='this CPU has no bfloat16'):
        set_backend('net', 'cpu', 'openvino', 'bf16')
    with pytest.raises(ConfigError, match='choose auto, fp32, bf16'):
        set_backend('net', 'cpu', 'openvino', 'int8')


def of_backend(scan: Path, backend: str, precision: str) -> SeriesResult:
    inferencer = NoduleInferencer(
        device='cpu', backend=backend, precision=precision
    )
    result = inferencer(scan)
    assert result.run is not None
    assert (result.run.backend, result.run.precision) == (backend, precision)
    assert (result.run.memory_format is None) == (backend != 'torch')
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    ('backend', 'precision', 'tolerance'),
    [
        ('onnxruntime', 'fp32', 1e-3),
        ('openvino', 'fp32', 1e-3),
        ('openvino', 'bf16', 0.02),
    ],
)
def test_detections_of_a_whole_scan_are_those_of_torch(
    backend: str, precision: str, tolerance: float, tmp_path: Path
) -> None:
    pytest.importorskip('onnxscript', reason="pip install 'lungdet[onnx]'")
    pytest.importorskip(backend, reason=f"pip install 'lungdet[{backend}]'")
    if precision == 'bf16' and not backends.computes_bfloat16('cpu'):
        pytest.skip('this CPU has no bfloat16 arithmetic')
    write_luna16_phantoms(tmp_path, scans=1, seed=3, size='small')
    (scan,) = tmp_path.glob('subset0/*.mhd')

    here = of_backend(scan, backend, precision)
    torchs = of_backend(scan, 'torch', 'fp32')

    expected = [d for d in torchs.detections if d.score > 0.1]
    detections = [d for d in here.detections if d.score > 0.1]
    assert len(detections) == len(expected) > 0
    for one in expected:
        gaps = [np.subtract(d.center_mm, one.center_mm) for d in detections]
        other = detections[int(np.argmin(np.linalg.norm(gaps, axis=1)))]
        assert np.abs(np.subtract(other.center_mm, one.center_mm)).max() < 0.5
        assert other.score == pytest.approx(one.score, abs=tolerance)
        assert (other.mask is None) == (one.mask is None)
