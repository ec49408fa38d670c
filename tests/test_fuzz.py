"""Damaged input of every kind is read equal, told, or refused in one line.

``LUNGDET_FUZZ=10`` tries ten times as many inputs; ``LUNGDET_FUZZ_SEED`` is
their seed. What became of the inputs of each target is printed, those that
nothing can judge in a column of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from terminaltables import AsciiTable

from tests.fuzz.corpus import CORPUS
from tests.fuzz.damage import MUTATORS
from tests.fuzz.inputs import inputs
from tests.fuzz.targets import GROUPS, TARGETS

ROOT = Path(__file__).resolve().parent.parent
BUDGET = float(os.environ.get('LUNGDET_FUZZ', '1'))
SEED = int(os.environ.get('LUNGDET_FUZZ_SEED', '20260701'))
MAX_DEATHS = 5
MAX_LISTED = 15  # failures in a message
WORDS = ('equal', 'told', 'refused', 'agreed', 'unknown')
FAILED = 'FAILED'
Outcomes = dict[str, Counter[str]]


def run(names: Sequence[str], folder: Path) -> tuple[Outcomes, list[str]]:
    """Outcomes of targets, and failures; a process that dies is replaced."""
    outcomes: Outcomes = defaultdict(Counter)
    failures: list[str] = []
    start, names = 0, list(names)
    for _ in range(MAX_DEATHS):
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'tests.fuzz.worker', str(folder)),
                *(str(SEED), str(BUDGET), str(start), *names),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                'PYTHONPATH': str(ROOT),
                'OMP_NUM_THREADS': '1',
            },
            capture_output=True,
            text=True,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for name, number, label, *result in lines:
            names = names[names.index(name) :]
            start = number + 1
            if result:
                word, text = result
                outcomes[name][word if word in WORDS else FAILED] += 1
                if word not in WORDS:
                    failures.append(f'{name}, {label}: {word}: {text}')
        if done.returncode == 0:
            return outcomes, failures
        where = ', '.join(map(str, lines[-1][:3])) if lines else names[0]
        failures.append(
            f'{where}: died with {done.returncode}: {done.stderr[-500:]}'
        )
        if not lines:
            break
    return outcomes, failures


def table(outcomes: Mapping[str, Counter[str]]) -> str:
    """Counts of outcomes, a line for each target."""
    words = (*WORDS, FAILED)
    lines = [
        [name, *(str(counts[word]) for word in words)]
        for name, counts in outcomes.items()
    ]
    return AsciiTable([['read', *words], *lines]).table


@pytest.mark.slow
@pytest.mark.parametrize('group', GROUPS)
def test_damaged_input_is_equal_told_or_refused(
    group: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    targets = [t for t in GROUPS[group] if all(map(find_spec, t.needs))]

    outcomes, failures = run([target.name for target in targets], tmp_path)

    with capsys.disabled():
        print(f'\n{table(outcomes)}')
    listed = '\n'.join(failures[:MAX_LISTED])
    assert not failures, f'{len(failures)} of {group}:\n{listed}'
    for target in targets:
        tried = len(inputs(target, SEED, round(target.cases * BUDGET)))
        assert outcomes[target.name].total() == tried, target.name


def test_the_corpus_names_targets() -> None:
    names = [target.name for target in TARGETS]
    assert set(CORPUS) <= set(names)
    assert len(set(names)) == len(names)
    assert {target.container for target in TARGETS} == set(MUTATORS)
