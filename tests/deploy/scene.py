"""Graphs for tests: computed by torch, or built with the ONNX library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lungdet.deploy.graph_specs import GraphSpec
from lungdet.models import Graphs


def torch_graphs(specs: dict[str, GraphSpec], **changes: Any) -> Graphs:
    """The torch layers themselves in place of graphs."""
    layers: dict[str, Any] = {name: s.layers for name, s in specs.items()}
    return Graphs(**{**layers, **changes})


def write_sum_graph(path: Path) -> None:
    """Write a graph with outputs a + b and a - b for tensors of any length."""
    from onnx import TensorProto, checker, helper, save

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ['n', 2])
        for name in ('a', 'b', 'sum', 'difference')
    ]
    nodes = [
        helper.make_node('Add', ['a', 'b'], ['sum']),
        helper.make_node('Sub', ['a', 'b'], ['difference']),
    ]
    graph = helper.make_graph(nodes, 'sums', values[:2], values[2:])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9
    )
    checker.check_model(model)
    save(model, path)
