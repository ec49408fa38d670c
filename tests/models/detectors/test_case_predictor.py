"""Whole-case inference: windows, what each answers for, and merging."""

from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.models.detectors.case_detections import SEAM
from lungdet.models.feature_maps import FeatureMaps
from lungdet.models.views import FLIPS
from lungdet.ops import box_centers, centers_in_boxes, computes_bfloat16
from tests.models.nets import (
    CASE,
    LOSSES,
    NODULE,
    SHAPE,
    detections_at,
    narrow_net,
    predictor_of,
    sample_of,
)
from tests.pretend_cuda import PretendCuda, pretend, to_pretended_gpu


class NoduleAtTheSeam:
    """Does no work for other windows.

    Both windows hold a nodule at x = 24, and each puts it a little to the
    other's side; besides, it detects something in the padding.
    """

    def __init__(self) -> None:
        self.cores: list[list] = []

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        raise AssertionError('the cores are known')

    def predict_owned(
        self, images: torch.Tensor, cores: torch.Tensor, flips: tuple
    ) -> list[InstanceData]:
        assert flips == ((),)
        self.cores += cores.tolist()
        return [self.detections(core) for core in cores]

    def detections(self, core: torch.Tensor) -> InstanceData:
        is_first = bool(core[2].isinf())
        x = 24.9 if is_first else 23.1 - 16
        detections = detections_at([[16.0, 10, x], [16.0, 31, 10]], [0.9, 0.8])
        return detections[centers_in_boxes(detections.bboxes, core[None])]


def test_detection_at_a_seam_is_kept_once_and_none_lies_outside() -> None:
    detector = NoduleAtTheSeam()

    detections = predictor_of(detector).predict(CASE)

    # the cores meet at x = 24, in the second window 8, and reach 2 further
    inf = torch.inf
    assert detector.cores == [
        [-inf, -inf, -inf, inf, inf, 24 + SEAM],
        [-inf, -inf, 8 - SEAM, inf, inf, inf],
    ]
    assert detections.bboxes[:, 2].tolist() == pytest.approx([22.9])
    assert detections.scores.tolist() == pytest.approx([0.9])


class KnowsNoCores:
    """All that a detector needs to be run on a case.

    Args:
        x: Where each window claims a nodule, in its voxels.
        proposals: Where each claims that it was proposed.
    """

    def __init__(
        self, x: list[float], proposals: list[float] | None = None
    ) -> None:
        self.x = x
        self.proposals = proposals

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        windows = []
        for k in range(len(images)):
            part = detections_at([[16.0, 10, self.x[k]]], [0.9 - k / 10])
            if self.proposals:
                center = torch.tensor([[16.0, 10, self.proposals[k]]])
                part.proposals = torch.cat([center, center], dim=1)
            windows.append(part)
        return windows


@pytest.mark.parametrize(
    ('x', 'proposals', 'kept'),
    [
        ([8.0, 20], None, [8, 36]),  # each in its core
        ([28.0, 20], None, [36]),  # the first is the other's
        ([25.5, 20], None, [25.5, 36]),  # in the seam
        ([8.0, 5], None, [8]),  # 21 is 3 from the cut at 24
        # the proposal's window owns it, wherever refinement moves it
        ([28.0, 20], [25.0, 20], [28, 36]),
        ([8.0, 20], [27.0, 20], [36]),
    ],
)
def test_windows_own_what_lies_in_their_cores_whatever_the_detector_does(
    x: list[float], proposals: list[float] | None, kept: list[float]
) -> None:
    detections = predictor_of(KnowsNoCores(x, proposals)).predict(CASE)

    assert box_centers(detections.bboxes)[:, 2].tolist() == kept
    assert 'proposals' not in detections


class NotesItsPrecision(KnowsNoCores):
    """Notes what a convolution would compute in."""

    dtype: torch.dtype

    def predict_window(self, images: torch.Tensor) -> list[InstanceData]:
        self.dtype = (images[:, 0, 0] @ images[:, 0, 0].mT).dtype
        return super().predict_window(images)


@pytest.mark.skipif(
    not computes_bfloat16('cpu'), reason='this CPU has no bfloat16'
)
@pytest.mark.parametrize(
    ('bf16', 'dtype'), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_windows_are_predicted_in_the_precision_of_the_test(
    bf16: bool, dtype: torch.dtype
) -> None:
    detector = NotesItsPrecision([8.0, 20])
    predictor = predictor_of(detector)
    predictor.bf16 = bf16

    predictor.predict(CASE)

    assert detector.dtype == dtype


def test_scan_without_proposals_gives_empty_results() -> None:
    net = narrow_net().eval()
    torch.nn.init.constant_(net.rpn_head.logits.bias, -50)

    detections = net.predict_case(
        torch.zeros(1, 40, 30, 50, dtype=torch.int16)
    )

    assert detections.bboxes.shape == (0, 6)
    assert detections.mask_boxes.shape == (0, 6)
    assert detections.masks == []


def test_whole_case_is_one_window_padded_at_the_end() -> None:
    case = torch.randint(-1000, 200, (1, 30, 40, 33), dtype=torch.int16)
    cfg = {'mask': {'score_thr': 0.0}, 'rpn': {'score_thr': 0.4}}

    whole = narrow_net(test_cfg={**cfg, 'window': None}).eval()
    window = narrow_net(test_cfg={**cfg, 'window': (32, 48, 48)}).eval()
    detections, wanted = whole.predict_case(case), window.predict_case(case)

    assert len(detections) > 1 and detections.masks[0] is not None
    assert torch.equal(detections.bboxes, wanted.bboxes)
    assert torch.equal(detections.scores, wanted.scores)
    for mask, box in zip(detections.masks, detections.mask_boxes):
        assert (box[3:] <= torch.tensor(case.shape[1:])).all()
        if mask is not None:
            assert mask.shape == tuple((box[3:] - box[:3]).tolist())


def test_masks_lie_where_their_boxes_say() -> None:
    """Published: a whole volume for each; here the box's voxels alone."""
    net = narrow_net(
        test_cfg={
            'window': (32, 32, 32),
            'overlap': 16,
            'rpn': {'score_thr': 0.3},
            'mask': {'score_thr': 0.0, 'max_per_window': None},
        }
    ).eval()

    def bright(feats: FeatureMaps, boxes: torch.Tensor) -> list:
        return [
            feats.image[k, 0, a:d, b:e, c:f]
            for k, a, b, c, d, e, f in boxes.tolist()
        ]

    net.roi_head.mask_head.forward = bright
    case = torch.randint(-1000, 400, (1, 30, 40, 70), dtype=torch.int16)

    detections = net.predict_case(case)

    # three windows lie side by side along x; -300 HU is the window's middle
    assert (detections.mask_boxes[:, 2] >= 40).any()
    for mask, box in zip(detections.masks, detections.mask_boxes.tolist()):
        z1, y1, x1, z2, y2, x2 = box
        assert (mask == (case[0, z1:z2, y1:y2, x1:x2] > -300).numpy()).all()
        assert mask.any()


@pytest.mark.parametrize(
    ('pad_hu', 'padding'), [(0, pytest.approx(1 / 3)), (-1200, -1)]
)
def test_voxels_beyond_the_case_look_like_those_beyond_a_crop(
    pad_hu: int, padding: float
) -> None:
    """Published: byte 0, -1 to the network, at test; in crops 170, 0 HU."""
    net = narrow_net(
        data_preprocessor={'type': 'CTDataPreprocessor', 'pad_hu': pad_hu}
    ).eval()
    images: list[torch.Tensor] = []
    net.backbone.register_forward_pre_hook(lambda _, x: images.append(x[0]))

    net.predict_case(torch.full((1, 20, 32, 32), -800, dtype=torch.int16))

    assert images[0][0, 0, 20:].unique().tolist() == [padding]


def test_window_asks_the_device_as_often_for_two_as_for_forty() -> None:
    """Published: every proposal, coordinate and mask is fetched by itself."""
    counts = []
    for num in (2, 40):
        net = narrow_net(
            test_cfg={
                'postprocess': {'box_source': 'rpn'},
                'mask': {'score_thr': 0.0, 'max_per_window': None},
            }
        ).eval()
        corner = torch.cartesian_prod(
            *(torch.arange(0.0, n, 8) for n in SHAPE)
        )
        boxes = torch.cat([corner, corner + 8], dim=1)[:num]
        proposals = InstanceData(
            bboxes=pretend(boxes), scores=pretend(torch.linspace(1, 0.5, num))
        )
        net.rpn_head.predict = lambda *_, given=proposals: [given]
        to_pretended_gpu(net)
        with PretendCuda() as gpu, torch.no_grad():
            images = torch.zeros(1, 1, *SHAPE, device='cuda')
            (detections,) = net.predict_window(images)
        assert len(detections) == num
        assert all(mask is not None for mask in detections.masks)
        counts.append(len(gpu.waits))

    assert counts[0] == counts[1] > 0


def test_only_proposals_in_the_core_are_pooled_and_segmented() -> None:
    rpn = {'score_thr': 0.3, 'max_num': None}
    net = narrow_net(test_cfg={'rpn': rpn}).eval()
    images = torch.randn(2, 1, 32, 32, 32)
    inf = torch.inf
    cores = torch.tensor(
        [[-inf, 8, -inf, inf, inf, 20], [-inf] * 3 + [inf] * 3]
    )
    pooled: list[torch.Tensor] = []
    net.roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda _, args: pooled.append(args[1])
    )

    every = net.predict_window(images)
    kept = net.predict_owned(images, cores, FLIPS[1])

    center = box_centers(pooled[0][pooled[0][:, 0] == 0, 1:])
    inside = (center[:, 1] >= 8) & (center[:, 2] < 20)
    assert [len(d) for d in kept] == [int(inside.sum()), len(every[1])]
    assert 0 < len(kept[0]) < len(every[0])
    assert len(pooled[1]) == sum(len(d) for d in kept)


def test_a_validation_window_runs_through_the_backbone_once() -> None:
    net = narrow_net(test_cfg={'window': SHAPE}).eval()
    calls: list[int] = []
    net.backbone.register_forward_hook(lambda *_: calls.append(1))
    sample = sample_of([NODULE])

    losses, _ = net.case_predictor().loss_and_predict(
        torch.zeros(1, *SHAPE, dtype=torch.int16), sample
    )

    assert set(losses) == LOSSES
    assert len(calls) == 1


def test_validation_losses_are_those_of_the_windows_with_nodules() -> None:
    net = narrow_net().eval()
    case = torch.randint(-1000, 200, (1, 32, 32, 48), dtype=torch.int16)
    # at 40..46 the nodule is whole in the window from x = 16 alone; the one
    # at 10 is in the other, and 3 voxels from the face of neither
    sample = sample_of(
        [[10, 10, 10, 18, 18, 18], [12, 12, 40, 18, 18, 46]],
        ignored=[[1, 1, 1, 5, 5, 5]],
    )

    torch.manual_seed(3)
    losses, _ = net.case_predictor().loss_and_predict(case, sample)

    torch.manual_seed(3)
    wanted = []
    crops = (
        (0, sample_of([[10, 10, 10, 18, 18, 18]], [[1, 1, 1, 5, 5, 5]])),
        # the first one's centre is 2 voxels outside: an ignored region
        (16, sample_of([[12, 12, 24, 18, 18, 30]], [[10, 10, -6, 18, 18, 2]])),
    )
    for start, target in crops:
        target.gt_masks = sample.gt_masks[:, :, start : start + 32]
        if start:
            target.gt_instances.ids = torch.tensor([2])
        window = case[..., start : start + 32]
        image = net.data_preprocessor.apply_window(window[None])
        # detections use no chance, so the same random numbers follow
        with torch.no_grad():
            wanted.append(net.loss(image, [target]))
    assert set(losses) == set(wanted[0]) == set(wanted[1])
    for name, value in losses.items():
        mean = sum(float(loss[name]) for loss in wanted) / 2
        assert value == pytest.approx(mean, rel=1e-5), name
    assert losses['loss_rpn_cls'] > 0


def test_detections_do_not_depend_on_how_many_windows_run_together() -> None:
    net = narrow_net().eval()
    torch.manual_seed(5)
    case = torch.randint(-1000, 200, (1, 40, 50, 60), dtype=torch.int16)

    net.test_cfg['windows_at_once'] = 1
    alone = net.predict_case(case)
    net.test_cfg['windows_at_once'] = 5
    together = net.predict_case(case)

    assert len(alone.bboxes) > 0
    torch.testing.assert_close(together.bboxes, alone.bboxes)
    torch.testing.assert_close(together.scores, alone.scores)
