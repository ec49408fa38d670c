"""LUNA16's rule once more, slowly and literally: lists, loops, dicts."""

from __future__ import annotations


def literal_froc(
    annotations: dict,
    excluded: dict,
    marks: dict,
    uids: list,
    max_marks: int = 100,
) -> dict:
    """Counts and curve points (fp per scan, sensitivity) of the rule."""
    tps, fps = [], []
    counts = dict.fromkeys(
        ('nodules', 'candidates', 'ignored_excluded', 'ignored_double'), 0
    )
    for uid in uids:
        kept = list(marks.get(uid, []))
        if len(kept) > max_marks:
            limit = sorted((m[3] for m in kept), reverse=True)[max_marks]
            kept = [m for m in kept if m[3] > limit]
        counts['candidates'] += len(kept)
        free = list(range(len(kept)))

        def hits(finding: tuple, kept: list = kept) -> list:
            x, y, z, diameter = finding
            radius = (10.0 if diameter < 0 else diameter) / 2
            return [
                i
                for i, m in enumerate(kept)
                if (x - m[0]) ** 2 + (y - m[1]) ** 2 + (z - m[2]) ** 2
                < radius**2
            ]

        for finding in annotations.get(uid, []):
            counts['nodules'] += 1
            found = hits(finding)
            if found:
                tps.append(max(kept[i][3] for i in found))
                counts['ignored_double'] += len(found) - 1
            free = [i for i in free if i not in found]
        for finding in excluded.get(uid, []):
            found = [i for i in hits(finding) if i in free]
            counts['ignored_excluded'] += len(found)
            free = [i for i in free if i not in found]
        fps += [kept[i][3] for i in free]
    points, whole = [(0.0, 0.0)], [(0.0, 0.0)]
    for score in sorted(set(tps + fps), reverse=True):
        f = sum(s >= score for s in fps)
        t = sum(s >= score for s in tps)
        x = f / len(fps) * len(fps) / len(uids) if fps else 0.0
        y = t / len(tps) * len(tps) / counts['nodules'] if tps else 0.0
        points.append((x, y))
        whole.append((f / len(uids), y))
    counts |= {
        'scans': len(uids),
        'tp': len(tps),
        'fp': len(fps),
        'fn': counts['nodules'] - len(tps),
    }
    return {'counts': counts, 'points': points, 'whole': whole}


def literal_read(points: list, rate: float) -> float:
    """Walk to the last point at or left of the rate, then straight on."""
    here = 0
    while here + 1 < len(points) and points[here + 1][0] <= rate:
        here += 1
    if here + 1 == len(points):
        return points[here][1]
    (x0, y0), (x1, y1) = points[here : here + 2]
    return y0 + (y1 - y0) * (rate - x0) / (x1 - x0)


def literal_bootstrap_sample(
    tp: dict, fp: dict, nodules: dict, drawn: list, rates: list
) -> list:
    """Copy the scores of drawn scans, as often as drawn, and read."""
    tps = [s for uid in drawn for s in tp[uid]]
    fps = [s for uid in drawn for s in fp[uid]]
    total = sum(nodules[uid] for uid in drawn)
    points = [(0.0, 0.0)]
    for score in sorted(set(tps + fps), reverse=True):
        f = sum(s >= score for s in fps)
        t = sum(s >= score for s in tps)
        x = f / len(fps) * len(fps) / len(drawn) if fps else 0.0
        y = t / len(tps) * len(tps) / total if tps else 0.0
        points.append((x, y))
    return [literal_read(points, rate) for rate in rates]
