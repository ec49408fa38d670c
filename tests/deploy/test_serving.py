from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

from lungdet.deploy import graph_detector, serving
from lungdet.errors import CheckpointError
from lungdet.models import Graphs
from tests.models.nets import narrow_net


@pytest.mark.slow
@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_windows_are_detected_as_in_torch_and_no_file_stays(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('onnxscript', reason="pip install 'lungdet[onnx]'")
    pytest.importorskip(runtime, reason=f"pip install 'lungdet[{runtime}]'")
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    net = narrow_net().eval()
    images = torch.randn(2, 1, 32, 48, 32)

    detector = graph_detector(net, runtime)

    assert not [*tmp_path.iterdir()]
    with torch.no_grad():
        pairs = zip(
            detector.predict_window(images), net.predict_window(images)
        )
    for one, other in pairs:
        assert len(one) == len(other) > 0
        torch.testing.assert_close(one.scores, other.scores)
        torch.testing.assert_close(one.bboxes, other.bboxes, rtol=0, atol=1e-3)


def test_graphs_that_compute_something_else_never_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = narrow_net().eval()
    graphs = Graphs(lambda image: (torch.zeros(1),) * 5)
    monkeypatch.setattr(serving, 'require', lambda runtime: None)
    monkeypatch.setattr(serving, 'write_graphs', lambda specs, folder: {})
    monkeypatch.setattr(serving, 'open_graphs', lambda *words: graphs)

    with pytest.raises(CheckpointError, match='backbone_rpn: the graph diff'):
        graph_detector(net, 'onnxruntime')
