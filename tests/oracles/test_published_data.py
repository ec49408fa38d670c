"""The literal data pipeline against numbers of the published system."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tests.oracles import published_data as published
from tests.oracles.reference import vectors

TARGET = 77  # the constant image of the crop vectors


def test_hu_to_uint8() -> None:
    stored = vectors()['hu_to_uint8']
    hu = np.array(stored['hu'], dtype=np.float64)  # null -> nan

    assert published.hu_to_uint8(hu).tolist() == stored['value']


@pytest.mark.parametrize('case', range(4))
def test_resample_shape(case: int) -> None:
    stored = vectors()['resample_shape'][case]

    shape, spacing = published.resampled(stored['shape'], stored['spacing'])

    assert shape == stored['new_shape']
    assert spacing == pytest.approx(stored['reported_spacing'], rel=1e-12)


def test_lung_box() -> None:
    stored = vectors()['lung_box']
    mask = np.zeros(stored['old_shape'], dtype=bool)
    mask[tuple(slice(*sides) for sides in stored['true_half_open'])] = True

    box = published.lung_box(mask, stored['new_shape'], stored['margin'])

    assert box == stored['box']


def test_learning_rate() -> None:
    for epoch, rate in vectors()['lr']:
        assert published.learning_rate(epoch) == rate


def test_crop() -> None:
    stored = vectors()['crop']
    *center, diameter = stored['target_z_y_x_d']
    image = np.full(stored['image_shape'], stored['image_const'], np.uint8)
    z1, z2, y1, y2, x1, x2 = stored['mask_half_open']
    mask = np.zeros_like(image)
    mask[z1:z2, y1:y2, x1:x2] = 1
    start = [int(first) for first in stored['start_taken']]

    ranges = [published.start_range(c, diameter, 128) for c in center]
    crop = published.cut(image, start, 128, published.PAD)
    crop_mask = published.cut(mask, start, 128, 0)

    assert ranges == stored['randint_low_high']
    assert int(crop.sum()) == stored['crop_sum']
    assert int(crop_mask.sum()) == stored['mask_sum']
    after = [c - first for c, first in zip(center, start)]
    assert [*after, diameter] == stored['target_after']


def test_crop_at_the_border() -> None:
    stored = vectors()['crop_border']
    *center, diameter = stored['target_z_y_x_d']
    image = np.full(vectors()['crop']['image_shape'], TARGET, np.uint8)

    ranges = [published.start_range(c, diameter, 128) for c in center]
    start = [first for first, _ in ranges]
    crop = published.cut(image, start, 128, published.PAD)

    assert ranges == stored['randint_low_high']
    assert int(crop.sum()) == stored['crop_sum']
    assert int((crop == published.PAD).sum()) == stored['n_pad']


def test_crop_scaled() -> None:
    stored, plain = vectors()['crop_scaled'], vectors()['crop']
    *center, diameter = plain['target_z_y_x_d']
    image = np.full(plain['image_shape'], TARGET, np.uint8)
    z1, z2, y1, y2, x1, x2 = plain['mask_half_open']
    mask = np.zeros_like(image)
    mask[z1:z2, y1:y2, x1:x2] = 1

    scale = published.draw_scale(diameter, stored['rand'])
    side = int(128 / scale)
    ranges = [published.start_range(c, diameter, side) for c in center]
    start = [first for first, _ in ranges]
    crop, zoomed = published.rescale(
        published.cut(image, start, side, published.PAD),
        scale,
        128,
        published.PAD,
    )
    crop_mask, _ = published.rescale(
        published.cut(mask, start, side, 0), scale, 128, 0
    )

    assert scale == pytest.approx(stored['scale'], rel=1e-12)
    assert side == stored['crop_size']
    assert ranges == stored['randint_low_high']
    assert zoomed == stored['zoomed']
    assert int((crop == published.PAD).sum()) == stored['n_pad_170']
    assert int((crop == TARGET).sum()) == stored['n_77']
    assert int(crop.sum()) == stored['image_sum']
    assert int(crop_mask.sum()) == stored['mask_sum']
    after = [(c - first) * scale for c, first in zip(center, start)]
    assert [*after, diameter * scale] == pytest.approx(
        stored['target_after'], rel=1e-12
    )


def test_pad2factor() -> None:
    for side, wanted in vectors()['pad2factor']:
        assert published.padded(side) == wanted


def test_normalise() -> None:
    for value, wanted in vectors()['normalise']:
        assert published.normalise(np.array(value)) == wanted


def test_masks_to_boxes() -> None:
    stored = vectors()['masks_to_boxes']
    masks = np.zeros((len(stored['half_open']), *stored['shape']), bool)
    for mask, (z1, z2, y1, y2, x1, x2) in zip(masks, stored['half_open']):
        mask[z1:z2, y1:y2, x1:x2] = True

    boxes = published.boxes_of_masks(masks, stored['border'])

    assert boxes.tolist() == stored['boxes']


def test_mask_nms() -> None:
    stored = vectors()['mask_nms']
    masks = np.zeros((4, 4, 4, 4), dtype=bool)
    for mask, (low, high) in zip(masks, [(0, 2), (1, 3), (3, 4)]):
        mask[low:high] = True
    iou = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()

    assert iou == pytest.approx(stored['iou01'])
    assert published.mask_nms(masks, 0.3) == stored['keep']


def test_sample_is_turned_where_it_says() -> None:
    """The turned centre is where the image goes; the nodule stays whole."""
    image = np.full((140, 150, 160), 40, np.uint8)
    mask = np.zeros_like(image)
    mask[60:70, 50:60, 90:100] = 1
    image[mask > 0] = 200
    point = np.zeros((64, 64, 64))
    point[30:33, 40:43, 12:15] = 1

    spot = np.mean(
        np.argwhere(
            ndimage.rotate(point, 33, axes=(1, 2), reshape=False, order=1)
            > 0.5
        ),
        axis=0,
    )
    crop, components, boxes = published.training_sample(
        image, mask, (64.5, 54.5, 94.5, 10), np.random.default_rng(1)
    )

    turned = published.turned(np.array([31.0, 41.0, 13.0]), 33, 64)
    assert np.abs(turned - spot).max() < 1.0
    assert crop.shape == components.shape == (128,) * 3
    assert -1 <= crop.min() and crop.max() < 1
    assert len(boxes) == 1
    inside = crop[components == 1]
    assert inside.mean() > published.normalise(np.array(150))
    assert (boxes[0, :3] - boxes[0, 3:6] / 2 > 0).all()
