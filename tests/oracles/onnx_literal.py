"""An exported detector on one window, with numpy and ONNX Runtime alone.

Written from docs/deploy.md and ``detector.json``, as somebody without lungdet
would; slow and plain.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Mark(NamedTuple):
    box: Array
    score: float
    mask_box: Array | None
    mask: Array | None


def detect(folder: Path, hu: Array) -> list[Mark]:
    """Detections of a scan (z, y, x) of HU that is one window, best first."""
    card = json.loads((folder / 'detector.json').read_text())
    window = card['input']
    (low, high), (first, last) = window['hu_window'], window['out_range']
    image = np.clip((hu - low) / (high - low), 0, 1) * (last - first) + first
    image = image[None, None].astype(np.float32)
    out1, out2, comb2, logits, deltas = run(
        folder, card, 'backbone_rpn', image
    )

    boxes, scores = proposals(card['rpn'], logits[0], deltas[0], hu.shape)
    marks = list(zip(boxes, scores))
    border = card['rcnn']['border']
    if marks:
        rois = [grown(box, border) for box in boxes]
        pooled = [pool(card['rcnn']['pooling'], out2[0], roi) for roi in rois]
        marks = refined(
            card, run(folder, card, 'rcnn', np.stack(pooled)), rois, marks, hu
        )
    marks.sort(key=lambda mark: -mark[1])

    masks: list[tuple[Any, Any]] = []
    for box, score in marks:
        rule = card['mask']
        if score < rule['score_thr'] or len(masks) >= rule['max_per_window']:
            masks.append((None, None))
            continue
        cells = widened(grown(box, border), hu.shape, rule['side_multiple'])
        crops = [
            maps[(..., *(slice(a // s, b // s) for a, b in zip(*cells)))]
            for maps, s in ((comb2, 4), (out1, 2), (image, 1))
        ]
        (mask,) = run(folder, card, 'mask', *crops)
        masks.append((np.concatenate(cells), mask[0, 0] > rule['logit_thr']))

    post = card['postprocess']
    kept: list[int] = []
    for k, (box, _) in enumerate(marks):
        if not any(same(post['nms'], box, marks[j][0]) for j in kept):
            kept.append(k)
    return [
        Mark(grown(marks[k][0], -post['box_border']), marks[k][1], *masks[k])
        for k in kept[: post['max_per_scan']]
    ]


def run(folder: Path, card: dict, name: str, *arrays: Array) -> list[Array]:
    import onnxruntime

    graph = card['graphs'][name]
    session = onnxruntime.InferenceSession(folder / graph['file'])
    return session.run(
        list(graph['outputs']), dict(zip(graph['inputs'], arrays))
    )


def proposals(
    rpn: dict, logits: Array, deltas: Array, shape: tuple[int, ...]
) -> tuple[list[Array], list[float]]:
    scores = 1 / (1 + np.exp(-logits))
    best = np.argsort(-scores, kind='stable')
    best = [k for k in best if scores[k] > rpn['score_thr']][: rpn['nms_pre']]
    boxes: dict[int, Array] = {}
    sizes, stride = rpn['anchor_sizes'], rpn['stride']
    cells = [side // stride for side in shape]
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
    card: dict,
    outputs: list[Array],
    rois: list[Array],
    marks: list[tuple[Array, float]],
    hu: Array,
) -> list[tuple[Array, float]]:
    rcnn, post = card['rcnn'], card['postprocess']
    assert post['score_fusion'] == 'mean' and post['box_source'] == 'rcnn'
    result = []
    for logits, deltas, roi, (_, score) in zip(*outputs, rois, marks):
        probability = np.exp(logits[1]) / np.exp(logits).sum()
        box = inside(decoded(rcnn['coder'], roi, deltas[6:12]), hu.shape)
        result.append(
            (grown(box, -rcnn['border']), float(score + probability) / 2)
        )
    return result


def decoded(coder: dict, reference: Array, deltas: Array) -> Array:
    deltas = deltas / np.array(coder['weights'])
    sides = reference[3:] - reference[:3]
    center = (reference[3:] + reference[:3]) / 2 + deltas[:3] * sides
    half = sides * np.exp(np.minimum(deltas[3:], coder['max_dlog'])) / 2
    return np.concatenate([center - half, center + half])


def inside(box: Array, shape: tuple[int, ...]) -> Array:
    center = (box[:3] + box[3:]) / 2
    shift = np.clip(center, 0.5, np.array(shape) - 0.5) - center
    return box + np.concatenate([shift, shift])


def grown(box: Array, border: float) -> Array:
    center, sides = (box[:3] + box[3:]) / 2, box[3:] - box[:3]
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


def widened(
    box: Array, shape: tuple[int, ...], multiple: int
) -> tuple[Array, Array]:
    side = np.array(shape)
    low = np.floor(box[:3] / multiple).astype(int) * multiple
    high = np.ceil(box[3:] / multiple).astype(int) * multiple
    low = np.minimum(np.maximum(low, 0), side - multiple)
    return low, np.minimum(np.maximum(high, low + multiple), side)


def iou(a: Array, b: Array) -> float:
    sides = np.minimum(a[3:], b[3:]) - np.maximum(a[:3], b[:3])
    both = np.prod(np.maximum(sides, 0))
    return both / (np.prod(a[3:] - a[:3]) + np.prod(b[3:] - b[:3]) - both)


def same(rules: dict, a: Array, b: Array) -> bool:
    distance = np.linalg.norm((a[:3] + a[3:] - b[:3] - b[3:]) / 2)
    radius = max(np.prod(c[3:] - c[:3]) ** (1 / 3) / 2 for c in (a, b))
    return (
        (rules['iou_thr'] is not None and iou(a, b) > rules['iou_thr'])
        or distance < (rules['center_distance'] or 0)
        or distance < (rules['center_radii'] or 0) * radius
    )
