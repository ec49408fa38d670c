"""An exported detector on a scan, with numpy and ONNX Runtime alone.

Written from docs/deploy.md and ``detector.json``, as somebody without lungdet
would; slow and plain.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

Array = np.ndarray
# mirrored axes of each view, by the number of views
EVERY = [
    tuple(axis for axis, chosen in enumerate(choice) if chosen)
    for choice in product((False, True), repeat=3)
]
FLIPS: dict[int, list[tuple[int, ...]]] = {
    1: [()],
    2: [(), (2,)],
    8: EVERY,
}


class Mark(NamedTuple):
    box: Array
    score: float
    mask_box: Array | None
    mask: Array | None


class Window(NamedTuple):
    start: Array
    size: Array
    core_low: Array
    core_high: Array


def detect(folder: Path, card: dict, hu: Array) -> list[Mark]:
    """Detections of a scan (z, y, x) of HU, best first."""
    post = card['postprocess']
    assert post['merge'] is None
    marks = [
        mark
        for window in windows(card['input'], hu.shape)
        for mark in detect_in(folder, card, hu, window)
    ]
    inner = [m for m in marks if (middle(m.box) < hu.shape).all()]
    kept = suppressed(post['nms'], inner)
    return [
        Mark(grown(box, -post['box_border']), *others)
        for box, *others in kept[: post['max_per_scan']]
    ]


def suppressed(rules: dict, marks: list[Mark]) -> list[Mark]:
    """Marks that no better one suppresses, best first."""
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: -mark.score):
        if not any(same(rules, mark.box, k.box) for k in kept):
            kept.append(mark)
    return kept


def unflipped(box: Array, shape: tuple[int, ...], axes: tuple) -> Array:
    """A box (z1, y1, x1, z2, y2, x2) of a mirrored window, mirrored back."""
    low, high = np.array(box[:3]), np.array(box[3:])
    for axis in axes:
        ends = shape[axis] - high[axis], shape[axis] - low[axis]
        low[axis], high[axis] = ends
    return np.concatenate([low, high])


def detect_in(
    folder: Path, card: dict, hu: Array, window: Window
) -> list[Mark]:
    """Detections that a window owns, in the voxels of the scan."""
    rule, post = card['input'], card['postprocess']
    crop = np.full(window.size, rule['pad_hu'], hu.dtype)
    part = hu[tuple(map(slice, window.start, window.start + window.size))]
    crop[tuple(map(slice, part.shape))] = part
    (low, high), (first, last) = rule['hu_window'], rule['out_range']
    image = np.clip((crop - low) / (high - low), 0, 1) * (last - first) + first
    views = [
        view_of(folder, card, image, axes) for axes in FLIPS[post['views']]
    ]

    owned = [
        (box, score)
        for box, score in zip(*proposals(card['rpn'], views, crop.shape))
        if owns(window, box, post['seam'])
    ]
    border = card['rcnn']['border']
    if owned:
        owned = refined(folder, card, views, owned, crop.shape)
    owned.sort(key=lambda mark: -mark[1])

    marks = []
    offset = np.concatenate([window.start, window.start])
    for rank, (box, score) in enumerate(owned):
        least, most = (
            card['mask'][name] for name in ('score_thr', 'max_per_window')
        )
        if score < least or rank >= most:
            marks.append(Mark(box + offset, score, None, None))
            continue
        cells = widened(
            grown(box, border), crop.shape, card['mask']['side_multiple']
        )
        logits = np.mean(
            [mask_logits(folder, card, view, cells) for view in views], axis=0
        )
        # a window may extend beyond the scan
        end = np.minimum(cells[3:], np.array(hu.shape) - window.start)
        inside = tuple(map(slice, np.maximum(end - cells[:3], 0)))
        marks.append(
            Mark(
                box + offset,
                score,
                np.concatenate([cells[:3], end]) + offset,
                logits[inside] > card['mask']['logit_thr'],
            )
        )
    return marks


class View(NamedTuple):
    """Maps of a mirrored window, without the batch."""

    axes: tuple[int, ...]
    image: Array
    out1: Array
    out2: Array
    comb2: Array
    logits: Array
    deltas: Array


def view_of(
    folder: Path, card: dict, image: Array, axes: tuple[int, ...]
) -> View:
    image = np.ascontiguousarray(np.flip(image, axes)[None], np.float32)
    maps = run(folder, card, 'backbone_rpn', image[None])
    return View(axes, image, *(one[0] for one in maps))


def mask_logits(folder: Path, card: dict, view: View, cells: Array) -> Array:
    """Of a box of the window (z1, y1, x1, z2, y2, x2)."""
    box = unflipped(cells, view.image.shape[1:], view.axes).reshape(2, 3)
    crops = [
        maps[(None, ..., *(slice(a // s, b // s) for a, b in zip(*box)))]
        for maps, s in ((view.comb2, 4), (view.out1, 2), (view.image, 1))
    ]
    (logits,) = run(folder, card, 'mask', *crops)
    return np.flip(logits[0, 0], view.axes)


def owns(window: Window, box: Array, seam: float) -> bool:
    """Whether a box of a window is centred in its core or seam."""
    center = middle(box) + window.start
    low, high = window.core_low - seam, window.core_high + seam
    return bool((center >= low).all() and (center < high).all())


def windows(rule: dict, shape: tuple[int, ...]) -> list[Window]:
    """Of a scan (z, y, x), in the order z, y, x."""
    size = window_size(rule, shape)
    axes = [cuts(*sides, rule['overlap']) for sides in zip(shape, size)]
    return [
        Window(
            np.array([start for start, _, _ in choice]),
            np.array(size),
            np.array([low for _, low, _ in choice]),
            np.array([high for _, _, high in choice]),
        )
        for choice in product(*axes)
    ]


def window_size(rule: dict, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sides (z, y, x): given, of the whole scan, or the cheapest of all."""
    multiple, overlap = rule['side_multiple'], rule['overlap']
    ends = [-(-side // multiple) * multiple for side in shape]
    if rule['max_voxels'] is None:
        return tuple(rule['window'] or ends)
    costs = []
    for size in product(*(range(multiple, e + 1, multiple) for e in ends)):
        if math.prod(size) > rule['max_voxels'] or any(
            side <= overlap and side < end for side, end in zip(size, ends)
        ):
            continue
        number = math.prod(
            len(cuts(side, part, overlap)) for side, part in zip(shape, size)
        )
        costs.append((number * math.prod(size), number, size))
    return min(costs)[2]


def cuts(side: int, part: int, overlap: int) -> list[tuple]:
    """(start, core low, core high) of each window along an axis."""
    if side <= part:
        return [(0, -math.inf, math.inf)]
    starts = [*range(0, side - part, part - overlap), side - part]
    middles = [(a + part + b) / 2 for a, b in zip(starts, starts[1:])]
    return list(zip(starts, [-math.inf, *middles], [*middles, math.inf]))


def run(folder: Path, card: dict, name: str, *arrays: Array) -> list[Array]:
    import onnxruntime

    graph = card['graphs'][name]
    session = onnxruntime.InferenceSession(folder / graph['file'])
    return session.run(
        list(graph['outputs']), dict(zip(graph['inputs'], arrays))
    )


def proposals(
    rpn: dict, views: list[View], shape: tuple[int, ...]
) -> tuple[list[Array], list[float]]:
    sizes, stride = rpn['anchor_sizes'], rpn['stride']
    cells = tuple(side // stride for side in shape)
    scores, deltas = np.zeros((*cells, len(sizes))), 0
    for view in views:
        logits = np.flip(view.logits.reshape(scores.shape), view.axes)
        moves = np.flip(view.deltas.reshape(*scores.shape, 6), view.axes)
        signs = [-1 if axis in view.axes else 1 for axis in range(6)]
        scores = scores + 1 / (1 + np.exp(-logits)) / len(views)
        deltas = deltas + moves * signs / len(views)
    scores, deltas = scores.ravel(), np.reshape(deltas, (-1, 6))
    best = np.argsort(-scores, kind='stable')
    best = [k for k in best if scores[k] > rpn['score_thr']][: rpn['nms_pre']]
    boxes: dict[int, Array] = {}
    for k in best:
        cell, size = divmod(int(k), len(sizes))
        center = (np.array(np.unravel_index(cell, cells)) + 0.5) * stride
        half = sizes[size] / 2
        anchor = np.concatenate([center - half, center + half])
        boxes[k] = inside(decoded(rpn['coder'], anchor, deltas[k]), shape)
    kept: list[int] = []
    for k in best:
        if all(iou(boxes[k], boxes[j]) <= rpn['nms_thr'] for j in kept):
            kept.append(k)
    kept = kept[: rpn['max_num']]
    return [boxes[k] for k in kept], [float(scores[k]) for k in kept]


def refined(
    folder: Path,
    card: dict,
    views: list[View],
    marks: list[tuple[Array, float]],
    shape: tuple[int, ...],
) -> list[tuple[Array, float]]:
    rcnn, post = card['rcnn'], card['postprocess']
    assert post['score_fusion'] == 'mean' and post['box_source'] == 'rcnn'
    boxes, probabilities = np.zeros((len(marks), 6)), np.zeros(len(marks))
    for view in views:
        rois = [
            unflipped(grown(box, rcnn['border']), shape, view.axes)
            for box, _ in marks
        ]
        pooled = [pool(rcnn['pooling'], view.out2, roi) for roi in rois]
        outputs = run(folder, card, 'rcnn', np.stack(pooled))
        for k, (logits, deltas, roi) in enumerate(zip(*outputs, rois)):
            moved = inside(decoded(rcnn['coder'], roi, deltas[6:12]), shape)
            probability = np.exp(logits[1]) / np.exp(logits).sum()
            boxes[k] += unflipped(moved, shape, view.axes) / len(views)
            probabilities[k] += probability / len(views)
    return [
        (grown(box, -rcnn['border']), float(score + probability) / 2)
        for box, probability, (_, score) in zip(boxes, probabilities, marks)
    ]


def decoded(coder: dict, reference: Array, deltas: Array) -> Array:
    deltas = deltas / np.array(coder['weights'])
    sides = reference[3:] - reference[:3]
    center = (reference[3:] + reference[:3]) / 2 + deltas[:3] * sides
    half = sides * np.exp(np.minimum(deltas[3:], coder['max_dlog'])) / 2
    return np.concatenate([center - half, center + half])


def middle(box: Array) -> Array:
    return (box[:3] + box[3:]) / 2


def inside(box: Array, shape: tuple[int, ...]) -> Array:
    center = middle(box)
    shift = np.clip(center, 0.5, np.array(shape) - 0.5) - center
    return box + np.concatenate([shift, shift])


def grown(box: Array, border: float) -> Array:
    center, sides = middle(box), box[3:] - box[:3]
    half = np.maximum(sides + border, np.minimum(sides, 1)) / 2
    return np.concatenate([center - half, center + half])


def pool(pooling: dict, maps: Array, box: Array) -> Array:
    """(C, D, H, W) to (C, k, k, k)."""
    assert pooling['type'] == 'RoICrop3D'
    k, stride = pooling['bins'], pooling['stride']
    cells = []
    for low, high, side in zip(box[:3], box[3:], maps.shape[1:]):
        start = max(math.floor((low - 0.5) / stride), 0)
        stop = min(math.ceil((high - 0.5) / stride), side)
        n = stop - start
        cells.append(
            [
                slice(start + i * n // k, start - (-(i + 1) * n // k))
                for i in range(k)
            ]
        )
    pooled = np.empty((len(maps), k, k, k), np.float32)
    for z, y, x in np.ndindex(k, k, k):
        block = maps[:, cells[0][z], cells[1][y], cells[2][x]]
        pooled[:, z, y, x] = block.max((1, 2, 3))
    return pooled


def widened(box: Array, shape: tuple[int, ...], multiple: int) -> Array:
    side = np.array(shape)
    low = np.floor(box[:3] / multiple).astype(int) * multiple
    high = np.ceil(box[3:] / multiple).astype(int) * multiple
    low = np.minimum(np.maximum(low, 0), side - multiple)
    high = np.minimum(np.maximum(high, low + multiple), side)
    return np.concatenate([low, high])


def iou(a: Array, b: Array) -> float:
    sides = np.minimum(a[3:], b[3:]) - np.maximum(a[:3], b[:3])
    both = np.prod(np.maximum(sides, 0))
    return both / (np.prod(a[3:] - a[:3]) + np.prod(b[3:] - b[:3]) - both)


def same(rules: dict, a: Array, b: Array) -> bool:
    distance = np.linalg.norm(middle(a) - middle(b))
    radius = max(np.prod(c[3:] - c[:3]) ** (1 / 3) / 2 for c in (a, b))
    return (
        (rules['iou_thr'] is not None and iou(a, b) > rules['iou_thr'])
        or distance < (rules['center_distance'] or 0)
        or distance < (rules['center_radii'] or 0) * radius
    )
