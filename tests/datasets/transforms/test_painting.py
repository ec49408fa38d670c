from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lungdet.datasets import InPainting, OutPainting, Painting
from lungdet.datasets.transforms.painting import PaintingParams
from lungdet.geometry import box_slices
from tests.datasets.transforms.draws import (
    SHAPE,
    VECTORS,
    assert_rate,
    crop_sample,
    distorted,
    draws,
)
from tests.oracles import genesis_literal as literal


def test_painting_is_drawn_as_published() -> None:
    kinds = Counter(params.painting for params in draws(Painting()))

    for kind, rate in (('in', 0.18), ('out', 0.72), (None, 0.10)):
        assert_rate(kinds[kind], rate)


@pytest.mark.parametrize('shape', [SHAPE, (48, 64, 96)])
def test_boxes_of_inpainting_are_drawn_as_published(shape: tuple) -> None:
    drawn = [params.boxes for params in draws(InPainting(), shape)]

    # 0.05 none, 0.95 * 0.05 one, ..., 0.95^5 five
    number = Counter(map(len, drawn))
    for num in range(5):
        assert_rate(number[num], 0.95**num * 0.05)
    assert_rate(number[5], 0.95**5)
    check_boxes(drawn, shape, [(s // 6, s // 3) for s in shape])


@pytest.mark.parametrize('shape', [SHAPE, (48, 64, 96)])
def test_boxes_of_outpainting_are_drawn_as_published(shape: tuple) -> None:
    drawn = [params.boxes for params in draws(OutPainting(), shape)]

    number = Counter(map(len, drawn))
    for num in range(1, 5):
        assert_rate(number[num], 0.95 ** (num - 1) * 0.05)
    assert_rate(number[5], 0.95**4)
    sides = [(s - 4 * s // 7, s - 3 * s // 7) for s in shape]
    if shape == SHAPE:
        assert sides == [(14, 19), (28, 37), (28, 37)]
    check_boxes(drawn, shape, sides)


def check_boxes(drawn: list, shape: tuple, sides: list) -> None:
    """Sides uniform in their range, starts uniform, a rim of 3 left out."""
    boxes = np.array([box for boxes in drawn for box in boxes])
    for axis, (low, high) in enumerate(sides):
        starts, lengths = boxes[:, axis], boxes[:, axis + 3] - boxes[:, axis]
        counts = Counter(lengths.tolist())
        assert set(counts) == set(range(low, high + 1))
        for count in counts.values():
            assert_rate(count, 1 / (high - low + 1), len(boxes))
        room = shape[axis] - 6 - lengths
        position = (starts[room > 0] - 3) / room[room > 0]
        assert position.min() == 0 and position.max() == 1
        assert position.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ('transform', 'name'),
    [(InPainting(), 'inpaint'), (OutPainting(), 'outpaint')],
)
def test_fraction_of_noise_is_the_vectors(
    transform: InPainting | OutPainting, name: str
) -> None:
    fractions = []
    for params in draws(transform):
        inside = np.zeros(SHAPE, dtype=bool)
        for box in params.boxes:
            inside[box_slices(np.array(box))] = True
        fraction = inside.mean()
        fractions.append(fraction if name == 'inpaint' else 1 - fraction)

    mean, *percentiles = VECTORS['painting'][name]['64x64x32']
    assert np.mean(fractions) == pytest.approx(mean, abs=0.005)
    # 5 % have one box less than the rest, so two of these lie at a jump
    np.testing.assert_allclose(
        np.percentile(fractions, [5, 50, 95]), percentiles, atol=0.02
    )


@pytest.mark.parametrize('kind', ['in', 'out'])
def test_boxes_or_all_else_become_noise(crop: np.ndarray, kind: str) -> None:
    box = (3, 10, 20, 13, 30, 60)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[box_slices(np.array(box))] = True

    out = Painting().apply(
        crop_sample(crop), PaintingParams(kind, (box,), noise_seed=4)
    )

    masked = out['masked']
    np.testing.assert_array_equal(masked, inside if kind == 'in' else ~inside)
    assert out['painting'] == kind
    assert (out['image'] == crop)[masked].mean() < 1e-3
    np.testing.assert_array_equal(out['image'][~masked], crop[~masked])
    noise = out['image'][masked]
    assert (np.histogram(noise, 10, (0, 1))[0] / len(noise)) == pytest.approx(
        0.1, abs=0.02
    )


def test_painting_leaves_some_crops_alone(crop: np.ndarray) -> None:
    sample = crop_sample(crop)

    assert Painting().apply(sample, PaintingParams()) is sample


def test_outpainting_is_the_literal_rule(crop: np.ndarray) -> None:
    """Voxel by voxel as often hidden."""
    hidden = np.zeros(SHAPE)
    literally = np.zeros(SHAPE)
    for seed in range(150):
        hidden += distorted(OutPainting(), crop, seed)['masked']
        rng = np.random.default_rng(1000 + seed)
        literally += literal.literal_outpainting(crop, rng) != crop

    assert (hidden[:3] == 150).all()  # the rim
    # along every axis the profile of hidden voxels is the same
    for axes in ((1, 2), (0, 2), (0, 1)):
        np.testing.assert_allclose(
            hidden.mean(axes) / 150, literally.mean(axes) / 150, atol=0.08
        )
