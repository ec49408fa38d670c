"""Damaged input of every kind is read equal, told, or refused in one line.

``LUNGDET_FUZZ=10`` tries ten times as many inputs; ``LUNGDET_FUZZ_SEED`` is
their seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.corpus import CORPUS
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
BUDGET = float(os.environ.get('LUNGDET_FUZZ', '1'))
SEED = os.environ.get('LUNGDET_FUZZ_SEED', '20260701')
MAX_DEATHS = 5
MAX_LISTED = 15  # failures in a message


def run(target: Target, folder: Path, cases: int) -> tuple[Counter, list[str]]:
    """Outcomes by word, and failures; a process that dies is started again."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    start = 0
    for _ in range(MAX_DEATHS):
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'tests.fuzz.worker', target.name),
                *(str(folder), SEED, str(start), str(cases)),
            ],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True,
            text=True,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for number, label, *result in lines:
            start = number + 1
            if not result:
                continue
            word, text = result
            outcomes[word] += 1
            if word.startswith('FAILED'):
                failures.append(f'{label}: {word}: {text}')
        if done.returncode == 0:
            return outcomes, failures
        label = lines[-1][1] if lines else 'the sound input'
        failures.append(
            f'{label}: died with {done.returncode}: {done.stderr[-500:]}'
        )
        if not lines:
            break
    return outcomes, failures


@pytest.mark.slow
@pytest.mark.parametrize('target', TARGETS, ids=lambda target: target.name)
def test_damaged_input_is_equal_told_or_refused(
    target: Target, tmp_path: Path
) -> None:
    outcomes, failures = run(target, tmp_path, round(target.cases * BUDGET))

    listed = '\n'.join(failures[:MAX_LISTED])
    assert not failures, f'{dict(outcomes)}\n{listed}'
    assert sum(outcomes.values()) >= 4 + round(target.cases * BUDGET)


def test_the_corpus_names_targets() -> None:
    assert set(CORPUS) <= {target.name for target in TARGETS}
    assert len({target.name for target in TARGETS}) == len(TARGETS)
