from __future__ import annotations

import itertools

import pytest
import torch

from lungdet.data_sample import InstanceData
from lungdet.models.task_modules import AnchorGenerator3D, DeltaBoxCoder3D
from lungdet.models.views import (
    FLIPS,
    View,
    flip_boxes,
    flip_detections,
    flip_images,
)
from tests.models.nets import feature_maps

SHAPE = (16, 24, 32)


def test_eight_views_are_all_combinations_of_axes() -> None:
    every = {
        axes for n in range(4) for axes in itertools.combinations(range(3), n)
    }

    assert set(FLIPS[8]) == every and len(FLIPS[8]) == 8
    assert all(FLIPS[n][0] == () and len(FLIPS[n]) == n for n in FLIPS)


@pytest.mark.parametrize('axes', FLIPS[8])
def test_boxes_follow_the_voxels(axes: tuple[int, ...]) -> None:
    image = torch.zeros(1, 1, *SHAPE)
    image[0, 0, 2:5, 7:11, 20:31] = 1

    flipped = torch.nonzero(flip_images(image, axes)[0, 0])
    box = torch.cat([flipped.min(0).values, flipped.max(0).values + 1])[None]

    back = flip_boxes(box, axes, SHAPE)
    assert back.tolist() == [[2, 7, 20, 5, 11, 31]]
    assert flip_boxes(back, axes, SHAPE).tolist() == box.tolist()


def test_infinite_sides_of_cores_stay_infinite() -> None:
    inf = torch.inf
    core = torch.tensor([[-inf, 3.0, -inf, inf, inf, 9.0]])

    flipped = flip_boxes(core, (1, 2), SHAPE)

    assert flipped.tolist() == [[-inf, -inf, 32 - 9, inf, 24 - 3, inf]]


@pytest.mark.parametrize('axes', FLIPS[8])
def test_masks_follow_the_voxels(axes: tuple[int, ...]) -> None:
    whole = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) > 0.5
    flipped = flip_images(whole[None, None], axes)[0, 0]
    box = torch.tensor([[1, 2, 3, 7, 12, 9], [0] * 6])
    z1, y1, x1, z2, y2, x2 = box[0].tolist()
    given = InstanceData(
        bboxes=box.float(),
        scores=torch.tensor([0.9, 0.5]),
        mask_boxes=box,
        masks=[flipped[z1:z2, y1:y2, x1:x2], None],
    )

    back = flip_detections(given, axes, SHAPE)

    (z1, y1, x1, z2, y2, x2), empty = back.mask_boxes.tolist()
    assert torch.equal(back.masks[0], whole[z1:z2, y1:y2, x1:x2])
    assert back.bboxes[0].tolist() == back.mask_boxes[0].tolist()
    assert empty == [0] * 6 and back.masks[1] is None
    assert given.mask_boxes.tolist() == box.tolist()  # not changed


@pytest.mark.parametrize('axes', FLIPS[8])
def test_anchors_of_mirrored_windows_are_put_back(
    axes: tuple[int, ...],
) -> None:
    cells, shape = (3, 4, 5), (12, 16, 20)
    anchors = AnchorGenerator3D(sizes=(4, 9)).grid_anchors(cells)
    coder = DeltaBoxCoder3D(weights=(2.0, 1, 3, 1, 1, 1))
    view = View(feature_maps(1, (1, 1, 1), shape), axes)
    deltas = torch.randn(1, len(anchors), 6)
    # a box in the mirrored windows of each of their anchors
    mirrored = coder.decode(anchors, deltas[0])

    order = view.flip_cells(torch.arange(len(anchors))[None])[0]
    boxes = coder.decode(anchors, view.flip_deltas(deltas)[0])

    back = flip_boxes(anchors[order], axes, shape)
    torch.testing.assert_close(back, anchors)
    torch.testing.assert_close(boxes, flip_boxes(mirrored[order], axes, shape))


def test_rois_keep_their_image() -> None:
    view = View(feature_maps(2, (1, 1, 1), (16, 24, 32)), (0, 2))
    boxes = torch.tensor([[1, 2, 3, 4, 5, 6], [0, 8, 4, 8, 12, 20]])
    rois = torch.cat([torch.tensor([[1], [0]]), boxes], dim=1)

    flipped = view.flip_rois(rois)

    assert flipped[:, 0].tolist() == [1, 0]
    assert torch.equal(flipped[:, 1:], flip_boxes(boxes, (0, 2), (16, 24, 32)))
    assert torch.equal(view.flip_rois(flipped), rois)
