"""Commands one after the other, each with a line that states its purpose."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lungdet.io.atomic import write_text

PROGRAMS = {'python': [], 'lungdet': ['-m', 'lungdet.cli']}


class Commands:
    """Runs commands in a folder, and writes their words to a file.

    Args:
        root: Folder that the commands run in.
        number: Number of commands.
        listing: File that gets the words of each, relative to ``root``.
    """

    def __init__(self, root: Path, number: int, listing: Path) -> None:
        self.root, self.number, self.listing = root, number, listing
        self.lines: list[str] = []

    def run(self, purpose: str, *words: object) -> None:
        """Say what is done and why, do it, and say how long it took.

        Args:
            purpose: One line.
            words: ``lungdet`` or ``python``, and its arguments.

        Raises:
            SystemExit: With the code of the command, which has printed why.
        """
        command = [self.shown(word) for word in words]
        self.lines.append(f'{shlex.join(command)}\n')
        write_text(self.listing, ''.join(self.lines))
        print(f'[{len(self.lines)}/{self.number}] {purpose}', flush=True)
        start = time.monotonic()
        if code := self._wait(command):
            raise SystemExit(code)
        print(f'      {time.monotonic() - start:.0f} s', flush=True)

    def _wait(self, words: Sequence[str]) -> int:
        """The exit code; Ctrl-C reaches the command too, and ends it."""
        program, *arguments = words
        command = [sys.executable, *PROGRAMS[program], *arguments]
        process = subprocess.Popen(command, cwd=self.root)
        try:
            return process.wait()
        except KeyboardInterrupt:
            if code := process.wait():
                return code
            raise

    def shown(self, word: object) -> str:
        """A path, or the path in ``KEY=PATH``, relative if possible."""
        return str(word).replace(f'{self.root}{os.sep}', '')
