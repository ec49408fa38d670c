"""Programs that are killed at a random moment, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
PATIENCE = 15.0  # seconds until the children of a killed program have ended
# what Python prints in a process whose caller was killed while it started it
UNTOLD = re.compile(
    r'Traceback [^\n]*\n(  [^\n]*\n)*?  [^\n]* in spawn_main\n(  [^\n]*\n)*'
    r'(EOFError|BrokenPipeError)[^\n]*\n'
)
# a program begins when Python has started and its own modules are there
BEGIN = """
import runpy, sys
import lungdet.cli
print('begun', flush=True)
program, *sys.argv[1:] = sys.argv[1:]
if program == 'lungdet':
    runpy.run_module('lungdet.cli', run_name='__main__', alter_sys=True)
else:
    runpy.run_path(program, run_name='__main__')
"""


class Program:
    """A running program of lungdet, in its own session.

    Args:
        words: Its command line; ``lungdet`` or a tool's path comes first.
        log: File for what it prints.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.log = log
        with open(log, 'w') as errors:
            self.process = subprocess.Popen(
                [sys.executable, '-c', BEGIN, *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                # a shell lets background processes ignore it
                preexec_fn=partial(
                    signal.signal, signal.SIGINT, signal.SIG_DFL
                ),
                env={
                    **os.environ,
                    'PYTHONPATH': str(ROOT),
                    'OMP_NUM_THREADS': '1',
                },
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b'begun\n'
        self.begun = time.monotonic()

    def wait(self) -> float:
        """Wait for its end, which must be a success; the seconds it took."""
        self.process.communicate()
        assert self.process.returncode == 0, self.log.read_text()
        return time.monotonic() - self.begun

    def kill(self, sent: signal.Signals, moment: float) -> bool:
        """Send a signal, and check how the program ends.

        Args:
            sent: Sent to the program, or, like Ctrl-C, also to its children.
            moment: Seconds after it began.

        Returns:
            Whether it ended because of the signal, not before.
        """
        time.sleep(max(0.0, self.begun + moment - time.monotonic()))
        if self.process.poll() is None:
            if sent == signal.SIGINT:
                os.killpg(self.process.pid, sent)
            else:
                self.process.send_signal(sent)
        self.process.communicate(timeout=PATIENCE)
        self.check_end(sent)
        return self.process.returncode != 0

    def check_end(self, sent: signal.Signals) -> None:
        code, text = self.process.returncode, self.log.read_text()
        if sent == signal.SIGKILL:
            text = UNTOLD.sub('', text)
        assert 'Traceback' not in text, text
        if sent != signal.SIGKILL and code == INTERRUPTED:
            (line,) = [x for x in text.splitlines() if 'interrupted' in x]
            assert 'run the same command again' in line
        elif code:  # of Ctrl-C only while Python ends, its work done
            assert code == -sent, f'{sent!r}: {code}: {text}'
        end = time.monotonic() + PATIENCE
        while (left := running(self.process.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not left, f'{sent!r}: {left} run on'


def running(session: int) -> list[str]:
    """Process ids of a session that have not ended."""
    processes = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            stat = path.read_text().rpartition(')')[2].split()
        except OSError:  # ended meanwhile
            continue
        if stat[3] == str(session) and stat[0] != 'Z':
            processes.append(path.parent.name)
    return processes


def leftovers(folder: Path) -> list[str]:
    """Files that were being written."""
    return [str(path) for path in folder.rglob('*.tmp*')]
