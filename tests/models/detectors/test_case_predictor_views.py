"""Mirrored views of each window, averaged."""

from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.errors import ConfigError
from lungdet.models.views import FLIPS, flip_boxes, flip_images
from tests.models.nets import detections_at, narrow_net, predictor_of


class SeesOneSide:
    """Detects the brightest voxel, more surely in the half x >= 16.

    Of two equal ones it sees the first.
    """

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        return [self.detections(image[0]) for image in images]

    def detections(self, image: torch.Tensor) -> InstanceData:
        flat = int(image.argmax())
        index = torch.tensor(
            [flat // 1024, flat // 32 % 32, flat % 32], dtype=torch.float32
        )
        score = 0.8 if index[2] >= 16 else 0.4
        spot = detections_at([(index + 0.5).tolist()], [score])
        box = torch.cat([index, index + 1])[None].long()
        spot.mask_boxes, spot.masks = box, [torch.ones(1, 1, 1).bool()]
        return spot


@pytest.mark.parametrize(('flips', 'score'), [(1, 0.4), (2, 0.6), (8, 0.6)])
def test_views_are_mirrored_together_and_averaged(
    flips: int, score: float
) -> None:
    case = torch.full((1, 32, 32, 32), -1000, dtype=torch.int16)
    case[0, 3, 20, 9] = 400
    predictor = predictor_of(SeesOneSide(), flips=flips)

    detections = predictor.predict(case)

    # 0.4 and, mirrored along x, 0.8
    assert detections.scores.tolist() == pytest.approx([score])
    assert detections.bboxes.tolist() == [
        pytest.approx([1.5, 18.5, 7.5, 5.5, 22.5, 11.5])
    ]
    assert detections.mask_boxes.tolist() == [[3, 20, 9, 4, 21, 10]]
    assert 'views' not in detections


def test_flipped_windows_of_a_net_keep_what_they_own() -> None:
    """Eight views of windows that overlap, with proposals and masks: what
    they see of a mirrored case is the mirrored detections."""
    net = narrow_net(
        test_cfg={
            'window': (32, 32, 32),
            'overlap': 16,
            'flips': 8,
            'rpn': {'score_thr': 0.0, 'max_num': 8},
            'mask': {'score_thr': 0.0},
        }
    ).eval()
    generator = torch.Generator().manual_seed(0)
    case = torch.randint(-1000, 400, (1, 32, 32, 48), generator=generator)

    one = net.predict_case(case)
    other = net.predict_case(case.flip([1, 3]))

    assert len(one) > 5
    assert other.scores.tolist() == pytest.approx(
        one.scores.tolist(), abs=1e-5
    )
    shape = case.shape[1:]
    boxes, cells = (
        flip_boxes(value, (0, 2), shape)
        for value in (one.bboxes, one.mask_boxes)
    )
    torch.testing.assert_close(other.bboxes, boxes, atol=1e-3, rtol=0)
    segmented = [mask is not None for mask in one.masks]
    assert sum(segmented) > 5
    assert torch.equal(other.mask_boxes[segmented], cells[segmented])
    for mask, mirrored in zip(one.masks, other.masks, strict=True):
        assert mask is None or (mask == mirrored[::-1, :, ::-1]).all()


def test_a_net_sees_an_object_alike_in_all_views_together() -> None:
    """Its RPN alone would drop it in one view, and take it in the other."""
    net = narrow_net(test_cfg={'window': (32, 32, 32)}).eval()
    net.roi_head = None
    images = torch.randn(1, 1, 32, 32, 32)
    cores = torch.tensor([[-torch.inf] * 3 + [torch.inf] * 3])
    with torch.no_grad():
        scores = [
            net.rpn_head(net.extract_feat(flip_images(images, axes)))[0]
            .sigmoid()
            .view(8, 8, 8, -1)
            .flip(axes)
            for axes in FLIPS[2]
        ]
        mean = (scores[0] + scores[1]) / 2
        net.rpn_head.test_cfg['score_thr'] = float(mean.max()) - 1e-6

        (detections,) = net.predict_owned(images, cores, FLIPS[2])

    of_views = [float(one.flatten()[mean.argmax()]) for one in scores]
    assert min(of_views) < mean.max() - 1e-6 < max(of_views)
    assert detections.scores.tolist() == pytest.approx([float(mean.max())])


def test_scores_of_candidates_are_averaged_over_views() -> None:
    boxes = torch.tensor([[8.0, 8, 8, 14, 14, 14]])
    generator = torch.Generator().manual_seed(0)
    case = torch.randint(-1000, 400, (1, 32, 32, 32), generator=generator)
    views = []
    for axes in ((), (2,)):
        flipped = case.flip([axis + 1 for axis in axes])
        box = boxes.clone()
        if axes:
            box[:, 2], box[:, 5] = 32 - boxes[:, 5], 32 - boxes[:, 2]
        net = narrow_net().eval()
        views.append(net.case_predictor().score(flipped, box))

    cfg = {'window': (32, 32, 32), 'overlap': 16, 'flips': 2}
    both = narrow_net(test_cfg=cfg).eval().case_predictor().score(case, boxes)

    assert views[0].item() != pytest.approx(views[1].item())
    assert both.item() == pytest.approx((views[0] + views[1]).item() / 2)


def test_other_numbers_of_views_are_refused() -> None:
    net = narrow_net(test_cfg={'window': (32, 32, 32), 'flips': 4})

    with pytest.raises(ConfigError, match=r'test_cfg.flips: 4; .*\[1, 2, 8\]'):
        net.case_predictor()


def test_views_without_proposals_have_no_detections() -> None:
    net = narrow_net(test_cfg={'rpn': {'score_thr': 1.0}}).eval()
    cores = torch.tensor([[-torch.inf] * 3 + [torch.inf] * 3] * 2)

    with torch.no_grad():
        detected = net.predict_owned(
            torch.randn(2, 1, 32, 32, 32), cores, FLIPS[2]
        )

    assert [len(one) for one in detected] == [0, 0]
