"""Which windows and marks count where the lungs are known."""

from __future__ import annotations

import torch

from lungdet.data_sample import DetDataSample, InstanceData
from tests.models.nets import CASE, detections_at, narrow_net, predictor_of


class ManyInTheChestWall:
    """120 good marks far from the lungs, and a weaker one in them."""

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        wall = [
            [4.0 + z, 3.0 + y, 2.0 + x]
            for z in range(0, 24, 4)
            for y in range(0, 16, 4)
            for x in range(0, 20, 4)
        ]
        centers = [*wall, [16.0, 10.0, 40.0]]
        scores = [0.9] * len(wall) + [0.5]
        return [detections_at(centers, scores)]


def test_the_cap_is_for_marks_near_the_lungs() -> None:
    predictor = predictor_of(ManyInTheChestWall(), window=None, overlap=0)
    sample = DetDataSample(metainfo={'lung_margin': 8.0})
    sample.lungs = torch.zeros(CASE.shape[1:], dtype=torch.bool)
    sample.lungs[..., 36:] = True

    everywhere = predictor.predict(CASE)
    predictor.fill(CASE, sample)

    assert len(everywhere) == 100
    assert everywhere.scores.min() > 0.8
    assert sample.pred_instances.scores.tolist() == [0.5]
    assert sample.pred_instances.outside_lungs == 120
    assert sample.pred_instances.lung_margin == 8.0


def case_with_lungs(lungs: slice) -> tuple[torch.Tensor, DetDataSample]:
    """A case of five windows along x, and its sample."""
    torch.manual_seed(7)
    case = torch.randint(-1000, 200, (1, 30, 30, 96), dtype=torch.int16)
    sample = DetDataSample(metainfo={'lung_margin': 3.0})
    sample.lungs = torch.zeros(case.shape[1:], dtype=torch.bool)
    sample.lungs[..., lungs] = True
    return case, sample


def test_windows_far_from_the_lungs_are_left_out_and_nothing_is_lost() -> None:
    net = narrow_net(test_cfg={'window': (32, 32, 32), 'overlap': 16}).eval()
    case, sample = case_with_lungs(slice(20, 40))
    images: list[int] = []
    net.backbone.register_forward_pre_hook(
        lambda _, x: images.append(len(x[0]))
    )

    fewer = net.predict_case(case, sample)
    run = sum(images)
    net.test_cfg['only_lungs'] = False
    every = net.predict_case(case, sample)

    assert fewer.windows == (3, 5) and run == 3
    assert every.windows == (5, 5) and sum(images) - run == 5
    assert len(every) > 1
    assert torch.equal(fewer.bboxes, every.bboxes)
    assert torch.equal(fewer.scores, every.scores)


def test_a_case_without_lungs_is_searched_everywhere() -> None:
    net = narrow_net().eval()
    case, sample = case_with_lungs(slice(0, 0))

    assert net.predict_case(case, sample).windows == (5, 5)
    assert net.predict_case(case).windows == (5, 5)


def test_fitted_windows_together_have_at_most_so_many_voxels() -> None:
    net = narrow_net(test_cfg={'max_voxels': 150_000, 'overlap': 16}).eval()
    case, _ = case_with_lungs(slice(0, 96))
    shapes: list[torch.Size] = []
    net.backbone.register_forward_pre_hook(
        lambda _, x: shapes.append(x[0].shape)
    )

    one = net.predict_case(case)
    net.test_cfg['max_voxels'] = 70_000
    two = net.predict_case(case)
    net.test_cfg['max_voxels'] = 35_000
    several = net.predict_case(case)

    assert one.windows == (1, 1) and two.windows == (2, 2)
    assert several.windows == (5, 5)
    assert shapes[0] == (1, 1, 32, 32, 96)
    assert shapes[1:3] == [(1, 1, 32, 32, 64)] * 2
    assert {tuple(shape) for shape in shapes[3:]} == {(1, 1, 32, 32, 32)}
