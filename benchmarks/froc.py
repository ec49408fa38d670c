"""Cost of an evaluation with 1,000 resamples, and of a literal bootstrap.

python -m benchmarks.froc [--repeats 3] [--literal-resamples 20]

The submission has 888 scans of 100 marks each. The parts run in turn, each in
a separate process; figures are medians. The literal bootstrap, a slow
reference implementation, copies the entries of every resampled scan, like the
official script; only a few resamples are timed, and the time is scaled up.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from terminaltables import AsciiTable

from benchmarks.peak import peak_gb
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import positive_int
from lungdet.evaluation import FROCResult, bootstrap_froc, evaluate_froc
from tests.oracles.froc_literal import literal_bootstrap

SCANS, MARKS, NODULES, RESAMPLES = 888, 100, 1186, 1000


def submission() -> tuple[dict, dict, list[str]]:
    """Random nodules, marks and scans; 95 % of the nodules have a mark with a
    high score."""
    rng = np.random.default_rng(0)
    uids = [f'1.2.{k}' for k in range(SCANS)]
    owners = rng.integers(SCANS, size=NODULES)
    nodules, marks = {}, {}
    for k, uid in enumerate(uids):
        centers = rng.uniform(-150, 150, (int((owners == k).sum()), 3))
        nodules[uid] = centers, rng.uniform(4, 20, len(centers))
        points = rng.uniform(-150, 150, (MARKS, 3))
        scores = rng.beta(1, 8, MARKS)
        for row, center in enumerate(centers[rng.random(len(centers)) < 0.95]):
            points[row], scores[row] = center + 0.5, rng.beta(5, 2)
        marks[uid] = points, scores
    return nodules, marks, uids


def array_bootstrap(
    result: FROCResult, uids: list[str], resamples: int
) -> None:
    """lungdet's intervals of all rates and of the CPM, and the band."""
    bootstrap_froc(result, resamples=resamples)


def literal(result: FROCResult, uids: list[str], resamples: int) -> None:
    """The same resamples, by copying entries."""
    matches = result.matches
    literal_bootstrap(
        {u: m.tp_scores for u, m in matches.items()},
        {u: m.fp_scores for u, m in matches.items()},
        {u: m.nodules - len(m.tp_scores) for u, m in matches.items()},
        uids,
        np.random.RandomState(0),
        resamples,
    )


PARTS = {'lungdet': array_bootstrap, 'literal': literal}


def run_part(name: str, resamples: int) -> None:
    """Print CPU-seconds of scoring and resampling, and peak memory."""
    nodules, marks, uids = submission()
    start = time.process_time()
    result = evaluate_froc(nodules, {}, marks, uids)
    scored = time.process_time()
    PARTS[name](result, uids, resamples)
    print(
        json.dumps(
            {
                'scoring': scored - start,
                'resamples': time.process_time() - scored,
                'memory': peak_gb(),
            }
        )
    )


def measure(name: str, resamples: int) -> dict[str, float]:
    """One run of a part in a separate process."""
    done = subprocess.run(
        [
            sys.executable,
            *('-m', 'benchmarks.froc', '--part', name),
            *('--resamples', str(resamples)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def write_files(folder: Path) -> list[str]:
    """Write the submission and its tables; return the command's arguments."""
    nodules, marks, uids = submission()
    for name, last, table in (
        ('marks', 'probability', marks),
        ('annotations', 'diameter_mm', nodules),
        ('excluded', 'diameter_mm', {}),
    ):
        lines = [f'seriesuid,coordX,coordY,coordZ,{last}']
        for uid, (points, values) in table.items():
            lines += [
                f'{uid},{x},{y},{z},{value}'
                for (x, y, z), value in zip(points, values)
            ]
        (folder / f'{name}.csv').write_text('\n'.join(lines) + '\n')
    (folder / 'seriesuids.csv').write_text('\n'.join(uids) + '\n')
    return [
        str(folder / 'marks.csv'),
        *('--annotations', str(folder / 'annotations.csv')),
        *('--excluded', str(folder / 'excluded.csv')),
        *('--seriesuids', str(folder / 'seriesuids.csv')),
    ]


def measure_command(repeats: int) -> tuple[float, float]:
    """Median CPU-seconds and peak MB of the whole command."""
    used = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = write_files(Path(folder))
        for _ in range(repeats):
            before = os.times()
            subprocess.run(
                [sys.executable, '-m', 'lungdet.cli', 'froc', *arguments],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            after = os.times()
            used.append(
                after.children_user
                + after.children_system
                - before.children_user
                - before.children_system
            )
    return float(np.median(used)), 1000 * peak_gb(children=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=positive_int, default=3)
    parser.add_argument('--literal-resamples', type=positive_int, default=20)
    parser.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument(
        '--resamples', type=positive_int, help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.part:
        run_part(args.part, args.resamples)
        return
    command, command_peak = measure_command(args.repeats)
    resamples = {'lungdet': RESAMPLES, 'literal': args.literal_resamples}
    runs: dict[str, list[dict]] = {name: [] for name in PARTS}
    for _ in range(args.repeats):
        for name in PARTS:
            runs[name].append(measure(name, resamples[name]))
    cost = {
        name: float(np.median([r['resamples'] for r in runs[name]]))
        * (RESAMPLES / resamples[name])
        for name in PARTS
    }
    scoring = float(np.median([r['scoring'] for r in runs['lungdet']]))
    rows = [['what', 'CPU-s', 'ratio', 'peak MB']]
    for name in PARTS:
        peak = 1000 * max(r['memory'] for r in runs[name])
        timed = (
            ''
            if resamples[name] == RESAMPLES
            else f', {resamples[name]} timed'
        )
        rows.append(
            [
                f'{name}: {RESAMPLES} resamples{timed}',
                f'{cost[name]:.2f}',
                f'{cost[name] / cost["literal"]:.4f}',
                f'{peak:.0f}',
            ]
        )
    whole = scoring + cost['lungdet']
    rows += [
        ['lungdet: scoring and resamples', f'{whole:.2f}', '', ''],
        [
            'lungdet froc, with startup and reading',
            f'{command:.2f}',
            '',
            f'{command_peak:.0f}',
        ],
    ]
    print(AsciiTable(rows, f'{SCANS} scans of {MARKS} marks').table)


if __name__ == '__main__':
    with clean_errors('benchmarks.froc'):
        main()
