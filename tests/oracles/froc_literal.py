"""A second version of LUNA16's rule, slow and literal: lists, loops, dicts."""

from __future__ import annotations

import numpy as np


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
            on_it = hits(finding)
            if on_it:
                tps.append(max(kept[i][3] for i in on_it))
                counts['ignored_double'] += len(on_it) - 1
            free = [i for i in free if i not in on_it]
        for finding in excluded.get(uid, []):
            on_it = [i for i in hits(finding) if i in free]
            counts['ignored_excluded'] += len(on_it)
            free = [i for i in free if i not in on_it]
        fps += [kept[i][3] for i in free]
    points, whole, steps = [(0.0, 0.0)], [(0.0, 0.0)], []
    for score in sorted(set(tps + fps), reverse=True):
        f = sum(s >= score for s in fps)
        t = sum(s >= score for s in tps)
        x = f / len(fps) * len(fps) / len(uids) if fps else 0.0
        y = t / len(tps) * len(tps) / counts['nodules'] if tps else 0.0
        points.append((x, y))
        whole.append((f / len(uids), y))
        steps.append((f, t, f'{x:.9f},{y:.9f},{score:.9f}'))
    counts |= {
        'scans': len(uids),
        'tp': len(tps),
        'fp': len(fps),
        'fn': counts['nodules'] - len(tps),
    }
    return {
        'counts': counts,
        'points': points,
        'whole': whole,
        'table': literal_table(steps),
    }


def literal_table(steps: list) -> list:
    """Lines of the script's FROC file: straight runs keep their ends only."""
    lines = ['0.000000000,0.000000000,inf']
    for k, (f, t, line) in enumerate(steps):
        if 0 < k < len(steps) - 1:
            (f0, t0, _), (f2, t2, _) = steps[k - 1], steps[k + 1]
            if f - f0 == f2 - f and t - t0 == t2 - t:
                continue
        lines.append(line)
    return lines


def literal_nearest(points: list, rate: float) -> float:
    """Read at the nearest of 10,001 equally spaced rates from 1/8 to 8."""
    step = round((rate - 0.125) / 7.875 * 10000)
    grid = 8.0 if step == 10000 else 0.125 + step * (7.875 / 10000)
    return literal_read(points, grid)


def literal_next(lines: list, rate: float) -> float:
    """First line at or above the rate, of equal ones the last; else the
    end."""
    rows = [[float(v) for v in line.split(',')[:2]] for line in lines]
    for x, _ in rows:
        if x >= rate:
            return [b for a, b in rows if a == x][-1]
    return rows[-1][1]


def literal_read(points: list, rate: float) -> float:
    """Walk to the last point at or below the rate, then interpolate."""
    here = 0
    while here + 1 < len(points) and points[here + 1][0] <= rate:
        here += 1
    if here + 1 == len(points):
        return points[here][1]
    (x0, y0), (x1, y1) = points[here : here + 2]
    return y0 + (y1 - y0) * (rate - x0) / (x1 - x0)


def literal_bootstrap_sample(
    tp: dict, fp: dict, nodules: dict, drawn: list, rates: list
) -> tuple:
    """Copy the scores of drawn scans, as often as drawn: readings, lines."""
    tps = [s for uid in drawn for s in tp[uid]]
    fps = [s for uid in drawn for s in fp[uid]]
    total = sum(nodules[uid] for uid in drawn)
    points, steps = [(0.0, 0.0)], []
    for score in sorted(set(tps + fps), reverse=True):
        f = sum(s >= score for s in fps)
        t = sum(s >= score for s in tps)
        x = f / len(fps) * len(fps) / len(drawn) if fps else 0.0
        y = t / len(tps) * len(tps) / total if tps else 0.0
        points.append((x, y))
        steps.append((f, t, f'{x:.9f},{y:.9f},{score:.9f}'))
    readings = [literal_read(points, rate) for rate in rates]
    return readings, literal_table(steps)


def literal_bootstrap(
    tp: dict, fp: dict, missed: dict, uids: list, rng, resamples: int
) -> np.ndarray:
    """As the script draws: copy entries scan by scan, sort, count, read.

    Args:
        tp: Series uid -> scores of detected nodules.
        fp: Series uid -> scores of false positives.
        missed: Series uid -> number of missed nodules.
        uids: The scans.
        rng: Legacy generator.
        resamples: How often to draw.

    Returns:
        (resamples, 10000) float32 sensitivities at rates from 1/8 to 8.
    """
    rates = np.linspace(0.125, 8, 10000)
    rows = np.zeros((resamples, len(rates)), dtype=np.float32)
    for row in rows:
        entries = np.zeros((0, 2))
        for k in rng.randint(len(uids), size=len(uids)):
            uid = uids[k]
            for label, scores in (
                (1, tp[uid]),
                (0, fp[uid]),
                (1, [-1e9] * missed[uid]),
            ):
                one = np.stack([np.full(len(scores), label), scores], axis=1)
                entries = np.concatenate([entries, one])
        nodules = entries[:, 0].sum()
        entries = entries[entries[:, 1] > -1e9]
        entries = entries[np.argsort(-entries[:, 1], kind='stable')]
        last = np.append(np.diff(entries[:, 1]) != 0, True)
        t = np.cumsum(entries[:, 0])[last]
        f = np.cumsum(1 - entries[:, 0])[last]
        x = np.append(0, f / f[-1] * f[-1] / len(uids))
        y = np.append(0, t / t[-1] * t[-1] / nodules)
        row[:] = np.interp(rates, x, y)
    return rows
