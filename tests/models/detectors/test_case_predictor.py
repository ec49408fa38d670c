"""Whole-case inference: windows, what each answers for, and merging."""

from __future__ import annotations

import pytest
import torch

from lungdet.data_sample import DetDataSample, InstanceData
from lungdet.errors import ConfigError
from lungdet.models.detectors.case_detections import SEAM
from lungdet.models.feature_maps import FeatureMaps
from lungdet.ops import box_centers, centers_in_boxes, computes_bfloat16
from tests.models.nets import (
    CASE,
    LOSSES,
    NODULE,
    SHAPE,
    narrow_net,
    predictor_of,
    sample_of,
)
from tests.pretend_cuda import PretendCuda, pretend, to_pretended_gpu


def detections_at(
    centers: list[list[float]], scores: list[float]
) -> InstanceData:
    center = torch.tensor(centers)
    return InstanceData(
        bboxes=torch.cat([center - 2, center + 2], dim=1),
        scores=torch.tensor(scores),
        mask_boxes=torch.zeros(len(scores), 6, dtype=torch.long),
        masks=[None] * len(scores),
    )


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
        self, images: torch.Tensor, cores: torch.Tensor
    ) -> list[InstanceData]:
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
    net = narrow_net(test_cfg={'rpn': {'score_thr': 0.3}}).eval()
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
    kept = net.predict_owned(images, cores)

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
    top = one.scores.topk(5).values
    assert other.scores.topk(5).values.tolist() == pytest.approx(
        top.tolist(), abs=1e-5
    )
    box = one.bboxes[0]
    mirrored = torch.stack([32 - box[3], box[1], 48 - box[5]])
    assert other.bboxes[0, :3].tolist() == pytest.approx(
        mirrored.tolist(), abs=1e-3
    )


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
