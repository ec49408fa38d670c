from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lungdet.deploy.graph_specs import graph_specs
from tests.models.nets import narrow_net


@pytest.mark.slow
def test_the_program_writes_what_it_is_given(tmp_path: Path) -> None:
    onnx = pytest.importorskip('onnx', reason="pip install 'lungdet[onnx]'")
    spec = graph_specs(narrow_net().eval())['rcnn']
    torch.save({'second': spec}, tmp_path / 'specs.pt')

    subprocess.run(
        [
            *(sys.executable, '-m', 'lungdet.deploy.graph_exporter'),
            *(str(tmp_path / 'specs.pt'), str(tmp_path)),
        ],
        check=True,
    )

    assert {f.name for f in tmp_path.glob('*.onnx')} == {'second.onnx'}
    graph = onnx.load(tmp_path / 'second.onnx').graph
    assert [value.name for value in graph.input] == list(spec.inputs)
    assert [value.name for value in graph.output] == list(spec.outputs)
