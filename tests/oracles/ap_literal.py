"""A second average precision: lists and loops, one IoU at a time."""

from __future__ import annotations


def literal_iou(a: list, b: list) -> float:
    """Volume shared over volume covered of two edge boxes."""
    inter, one, two = 1.0, 1.0, 1.0
    for axis in range(3):
        low, high = max(a[axis], b[axis]), min(a[axis + 3], b[axis + 3])
        inter *= max(high - low, 0.0)
        one *= a[axis + 3] - a[axis]
        two *= b[axis + 3] - b[axis]
    return inter / (one + two - inter) if one + two > inter else 0.0


def literal_ap(
    truth: dict, detections: dict, uids: list, thr: float, max_boxes: int
) -> float:
    """COCO's average precision: match, rank, envelope, 101 recalls."""
    marks = []
    for uid in uids:
        ranked = sorted(detections.get(uid, []), key=lambda row: -row[1])
        free = list(range(len(truth.get(uid, []))))
        for box, score in ranked[:max_boxes]:
            best, partner = thr, None
            for k in free:
                overlap = literal_iou(box, truth[uid][k])
                if overlap >= best:
                    best, partner = overlap, k
            if partner is not None:
                free.remove(partner)
            marks.append((score, partner is not None))
    marks.sort(key=lambda row: -row[0])
    total = sum(len(truth.get(uid, [])) for uid in uids)
    points, hits = [], 0
    for rank, (_, hit) in enumerate(marks, start=1):
        hits += hit
        points.append((hits / total, hits / rank))
    area = 0.0
    for k in range(101):
        reached = [p for r, p in points if r >= k / 100]
        area += max(reached, default=0.0)
    return area / 101
