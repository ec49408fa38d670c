from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lungdet.apis import load_config
from lungdet.deploy.graph_files import compare_graphs, write_graphs
from lungdet.deploy.graph_specs import graph_specs
from lungdet.deploy.runtimes import open_graphs
from lungdet.errors import CheckpointError
from lungdet.registry import build_model
from tests.deploy.scene import torch_graphs
from tests.models.nets import narrow_net

ROOT = Path(__file__).parents[2]
NO_ONNX = "pip install 'lungdet[onnx]'"


def test_layers_do_not_differ_from_themselves() -> None:
    specs = graph_specs(narrow_net().eval())

    differences = compare_graphs(specs, torch_graphs(specs))

    assert differences == {'backbone_rpn': 0, 'rcnn': 0, 'mask': 0}


@pytest.mark.parametrize('factor', [1.001, float('nan')])
def test_other_numbers_are_refused(factor: float) -> None:
    specs = graph_specs(narrow_net().eval())

    def rcnn(pooled: Tensor) -> tuple[Tensor, ...]:
        logits, deltas = specs['rcnn'].layers(pooled)
        return logits, deltas * factor

    graphs = torch_graphs(specs, rcnn=rcnn)
    with pytest.raises(CheckpointError, match='^rcnn: the g'):
        compare_graphs(specs, graphs)


@pytest.mark.slow
def test_written_graphs_compute_the_same_at_any_size(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip('onnx', reason=NO_ONNX)
    pytest.importorskip('onnxruntime', reason=NO_ONNX)
    specs = graph_specs(narrow_net().eval())

    files = write_graphs(specs, tmp_path)

    assert capfd.readouterr() == ('', '')
    graphs = open_graphs(files, 'onnxruntime')
    assert max(compare_graphs(specs, graphs).values()) < 1e-5
    for sizes in (
        {'batch': 3, 'rois': 5, 'd': 1, 'h': 2, 'w': 4},
        {'batch': 1, 'rois': 1, 'd': 3, 'h': 1, 'w': 1},
    ):
        for name, spec in specs.items():
            inputs = spec.example(sizes)
            with torch.no_grad():
                wanted = spec.layers(*inputs)
            for a, b in zip(getattr(graphs, name)(*inputs), wanted):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for name, spec in specs.items():
        graph = onnx.load(files[name]).graph
        for value, axes in zip(graph.output, spec.outputs.values()):
            dims = value.type.tensor_type.shape.dim
            assert tuple(d.dim_param or d.dim_value for d in dims) == axes
        assert b'.py' not in files[name].read_bytes()  # no path of a source


@pytest.mark.slow
def test_the_methods_full_size_network_is_exported_faithfully(
    tmp_path: Path,
) -> None:
    pytest.importorskip('onnxruntime', reason=NO_ONNX)
    config = load_config(ROOT / 'configs' / 'nodulenet_qam.py')
    torch.manual_seed(0)
    specs = graph_specs(build_model(config.model.to_dict()).eval())

    graphs = open_graphs(write_graphs(specs, tmp_path), 'onnxruntime')

    differences = compare_graphs(specs, graphs)
    assert [*differences] == ['backbone_rpn', 'rcnn', 'mask']
    assert max(differences.values()) < 1e-5
