"""A program that was killed ends, run again, as if nothing had been.

Each program is killed at random moments, by turns with SIGKILL, SIGTERM and
Ctrl-C. ``LUNGDET_KILLS`` is how often, ``LUNGDET_KILLS_SEED`` the seed of the
moments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lungdet.apis import train
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_luna16
from tests.engine.conftest import TINY, write_tiny_store
from tests.engine.runs import NO_VALIDATION
from tests.killed_training import assert_same_end
from tests.kills import SIGNALS, Program, leftovers

KILLS = int(os.environ.get('LUNGDET_KILLS', '3'))
SEED = int(os.environ.get('LUNGDET_KILLS_SEED', '20261128'))
MAX_TEXT = 3000  # characters of a failure
CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PROGRAMS = (
    'prepare',
    'prepare-jobs',
    'train',
    'test',
    'report',
    'froc',
)
# what differs from run to run: logs, options, times
LOGS = re.compile(r'(log/)?\d{8}_\d{6}/')
DIFFERS = re.compile(r'(.*/)?tiny\.py|.*\.pth|manifest\.json')
# of the JSON of a scan's result, and of the page made from it
TIMES = re.compile(
    rb'"(created|seconds)": ("[^"]*"|\{[^}]*\}|[\d.e+-]+)|'
    rb'\d{4}-\d\d-\d\dT[\d:.+Z-]+'
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc').is_dir(), reason='asks /proc'),
]


class Scene(NamedTuple):
    """What the programs work on.

    Attributes:
        scans: Phantoms as a LUNA16 download.
        cases: Prepared from them.
        config: Of a small training on a store of its own.
        weights: Work folder of one epoch of it.
        result: What ``infer`` wrote with them.
        submission: Marks in the phantoms.
    """

    scans: Path
    cases: Path
    config: Path
    weights: Path
    result: Path
    submission: Path

    def words(
        self, program: str, out: Path, precision: str = 'fp32'
    ) -> list[str]:
        """The command line of a program that writes to ``out``."""
        prepare = ['lungdet', 'prepare', 'luna16', self.scans, out]
        prepare += ['--lidc-xml', self.scans / 'xml']
        scan = sorted(self.scans.glob('subset*/*.mhd'))[0]
        tables = {
            f'--{name.rpartition("_")[2]}': self.scans / f'{name}.csv'
            for name in ('annotations', 'annotations_excluded', 'seriesuids')
        }
        written = {
            '--json': out / 'froc.json',
            '--plot': out / 'froc.png',
            '--details': out / 'details',
            '--cases': self.cases,
        }
        options = [
            word for pair in {**tables, **written}.items() for word in pair
        ]
        lines: dict[str, list] = {
            'prepare': prepare,
            'prepare-jobs': [*prepare, '--jobs', 2],
            'train': [
                *('tools/train.py', self.config, '--work-dir', out),
                '--resume',
            ],
            'test': ['tools/test.py', self.config, self.weights, '--out', out],
            'infer': [
                *('lungdet', 'infer', scan, '--weights', self.weights),
                *('--out', out, '--keep-all', '--precision', precision),
            ],
            'report': [
                *('lungdet', 'report', self.result / scan.stem),
                *('--scan', scan, '--viewer', 'niivue'),
                *('--out', out / 'report.html'),
            ],
            'froc': ['lungdet', 'froc', self.submission, *options],
        }
        return [str(word) for word in lines[program]]


@pytest.fixture(scope='module')
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp('kills')
    scans, cases = folder / 'scans', folder / 'cases'
    uids = write_luna16_phantoms(scans, scans=3, size='small', progress=False)
    prepare_luna16(scans, cases, progress=False)
    config = folder / 'tiny.py'
    data = write_tiny_store(folder / 'tiny')
    workers = "train_dataloader['num_workers'] = 1\n"
    config.write_text(TINY.format(configs=CONFIGS, data=data) + workers)
    options = {**NO_VALIDATION, 'train_cfg.max_epochs': 1}
    train(config, work_dir=folder / 'weights', cfg_options=options)
    rng = np.random.default_rng(SEED)
    marks = ''.join(
        f'{uid},{x:.1f},{y:.1f},{z:.1f},{k / 20}\n'
        for uid in uids
        for k, (x, y, z) in enumerate(rng.normal(0, 40, (20, 3)))
    )
    submission = folder / 'submission.csv'
    submission.write_text(
        f'seriesuid,coordX,coordY,coordZ,probability\n{marks}'
    )
    weights, result = folder / 'weights', folder / 'result'
    made = Scene(scans, cases, config, weights, result, submission)
    Program(made.words('infer', result), folder / 'log.txt').wait()
    return made


def content(out: Path) -> dict[str, bytes | None]:
    """Files, and their bytes but for times where those must be equal."""
    files = {
        path.relative_to(out).as_posix(): path
        for path in sorted(out.rglob('*'))
        if path.is_file()
    }
    return {
        name: None
        if DIFFERS.fullmatch(name)
        else TIMES.sub(b'', path.read_bytes())
        for name, path in files.items()
        if not LOGS.match(name)
    }


@pytest.mark.parametrize('program', PROGRAMS)
def test_killed_and_run_again_ends_the_same(
    program: str, scene: Scene, tmp_path: Path
) -> None:
    straight, out = tmp_path / 'straight', tmp_path / 'cut'
    log = tmp_path / 'log.txt'
    seconds = Program(scene.words(program, straight), log).wait()

    def again(number: int) -> Again:
        return Again(scene.words(program, out), seconds, same)

    def same() -> None:
        assert content(out) == content(straight)
        if program == 'train':
            assert_same_end(out, straight)

    kill_often(program, out, log, again)


def test_killed_inference_ends_the_same_in_each_precision(
    scene: Scene, tmp_path: Path
) -> None:
    """``auto`` may choose differently at each start, and then says so."""
    out, log = tmp_path / 'cut', tmp_path / 'log.txt'
    precisions = ['fp32', 'auto', 'bf16'][: 3 if has_bfloat16() else 2]
    seconds = {
        name: Program(scene.words('infer', tmp_path / name, name), log).wait()
        for name in precisions
    }

    def again(number: int) -> Again:
        # by turns with each signal
        name = precisions[(number + number // len(SIGNALS)) % len(precisions)]

        def same() -> None:
            chosen, before = arithmetic(out), arithmetic(tmp_path / name)
            assert name in ('auto', chosen[0])
            if name != 'auto' or chosen == before:
                assert content(out) == content(tmp_path / name)

        return Again(scene.words('infer', out, name), seconds[name], same)

    kill_often('infer', out, log, again)


def has_bfloat16() -> bool:
    from lungdet.ops import computes_bfloat16

    return computes_bfloat16('cpu')


def arithmetic(out: Path) -> tuple[str, str | None]:
    """How a result says that it was computed, the same in all its files."""
    (path,) = out.glob('*/result.json')
    run = json.loads(path.read_text())['run']
    record = json.loads((path.parent / 'inference.json').read_text())
    assert record['precision'] == run['precision']
    return run['precision'], run['memory_format']


class Again(NamedTuple):
    """A program that is killed and run again.

    Attributes:
        words: Its command line.
        seconds: How long it runs.
        check: Asserts that it ended as if it had not been killed.
    """

    words: list[str]
    seconds: float
    check: Callable[[], None]


def kill_often(
    program: str, out: Path, log: Path, again: Callable[[int], Again]
) -> None:
    """Kill ``KILLS`` times, and check what another run makes of it."""
    rng = np.random.default_rng([SEED, zlib.crc32(program.encode())])
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(KILLS):
        words, seconds, check = again(number)
        sent = SIGNALS[number % len(SIGNALS)]
        moment = rng.uniform(0, seconds)
        try:
            hit = Program(words, log).kill(sent, moment)
            Program(words, log).wait()
            assert not leftovers(out)
            check()
            outcomes[sent.name if hit else 'ended before'] += 1
        except AssertionError as error:
            text = str(error)[:MAX_TEXT]
            failures.append(f'{number}, {sent.name} at {moment:.2f} s: {text}')
        shutil.rmtree(out, ignore_errors=True)
    counts = f'{program}: {dict(outcomes)}'
    print(counts)
    assert not failures, '\n'.join([counts, *failures])
    assert outcomes['ended before'] < KILLS
