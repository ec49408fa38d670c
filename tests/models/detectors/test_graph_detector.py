from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError, DivergenceError
from lungdet.models import GraphDetector, Graphs, NoduleNet
from lungdet.models.feature_maps import FeatureMaps
from lungdet.models.views import FLIPS
from tests.models.nets import narrow_net


def torch_graphs(net: NoduleNet) -> Graphs:
    """A network's layers as graphs, computed by torch itself."""

    def backbone_rpn(image: Tensor) -> tuple[Tensor, ...]:
        maps = net.backbone(image)
        return (*maps, *net.rpn_head(FeatureMaps(image, *maps)))

    rcnn, mask = net.roi_head.bbox_head, net.roi_head.mask_head
    return Graphs(
        backbone_rpn,
        lambda pooled: rcnn(pooled),
        lambda *crops: (mask.decode(*crops),),
    )


def values(detections: list[Any]) -> list[Any]:
    """Everything that detections hold, comparable."""
    return [
        {
            name: value.tolist() if isinstance(value, Tensor) else value
            for name, value in one.items()
            if name != 'masks'
        }
        | {'masks': [m if m is None else m.tolist() for m in one.masks]}
        for one in detections
    ]


@pytest.fixture
def net() -> NoduleNet:
    return narrow_net().eval()


def test_windows_are_detected_as_by_the_network(net: NoduleNet) -> None:
    images = torch.randn(2, 1, 32, 48, 32)
    cores = torch.tensor([[-torch.inf] * 3 + [20.0] * 3] * 2)
    detector = GraphDetector(net, torch_graphs(net))

    with torch.no_grad():
        expected = values(net.predict_window(images))
        assert values(detector.predict_window(images)) == expected
        expected = values(net.predict_owned(images, cores, FLIPS[2]))
        assert (
            values(detector.predict_owned(images, cores, FLIPS[2])) == expected
        )

    assert any(one['scores'] for one in expected)
    assert any(m is not None for one in expected for m in one['masks'])


def test_whole_cases_are_too_through_the_interface_of_mmengine(
    net: NoduleNet,
) -> None:
    case = torch.randint(-1000, 400, (1, 40, 40, 40), dtype=torch.int16)
    detector = GraphDetector(net, torch_graphs(net))
    batch = {'inputs': [case], 'data_samples': [DetDataSample()]}

    with torch.no_grad():
        (sample,) = detector.test_step(batch)
        expected = net.predict_case(case)

    assert len(expected.scores)
    assert sample.pred_instances.scores.tolist() == expected.scores.tolist()
    assert sample.pred_instances.bboxes.tolist() == expected.bboxes.tolist()


def test_heads_that_have_not_started_are_left_out(net: NoduleNet) -> None:
    net.set_epoch(1)
    images = torch.randn(1, 1, 32, 32, 32)
    graphs = Graphs(torch_graphs(net).backbone_rpn)

    with torch.no_grad():
        (detections,) = GraphDetector(net, graphs).predict_window(images)

    assert detections.rcnn_scores.isnan().all()
    assert detections.masks == [None] * len(detections)


def test_no_graph_gets_tensors_without_rows(net: NoduleNet) -> None:
    net.rpn_head.test_cfg['score_thr'] = 1.0
    graphs = torch_graphs(net)

    def rcnn(pooled: Tensor) -> tuple[Tensor, ...]:
        assert len(pooled)
        return graphs.rcnn(pooled)

    detector = GraphDetector(
        net, Graphs(graphs.backbone_rpn, rcnn, graphs.mask)
    )

    with torch.no_grad():
        (detections,) = detector.predict_window(torch.randn(1, 1, 32, 32, 32))

    assert len(detections) == 0


def test_network_is_not_changed_and_torch_stays_in_float32(
    net: NoduleNet,
) -> None:
    net.test_cfg['bf16'] = True
    heads = [net.roi_head.bbox_head, net.roi_head.mask_head]

    detector = GraphDetector(net, torch_graphs(net))

    assert [net.roi_head.bbox_head, net.roi_head.mask_head] == heads
    assert net.test_cfg['bf16'] and not detector.test_cfg['bf16']
    assert not detector.case_predictor().bf16


def test_values_that_are_not_finite_are_told(net: NoduleNet) -> None:
    graphs = torch_graphs(net)

    def backbone_rpn(image: Tensor) -> tuple[Tensor, ...]:
        outputs = graphs.backbone_rpn(image)
        return tuple(torch.full_like(one, torch.nan) for one in outputs)

    detector = GraphDetector(net, Graphs(backbone_rpn))

    with torch.no_grad(), pytest.raises(DivergenceError, match='maps of the'):
        detector.predict_window(torch.randn(1, 1, 32, 32, 32))


def test_graphs_are_not_trained() -> None:
    detector = GraphDetector(narrow_net().eval(), Graphs(lambda image: ()))

    with pytest.raises(ConfigError, match="mode 'loss', but graphs are not"):
        detector([torch.zeros(1, 32, 32, 32)], mode='loss')
