"""What ``lungdet infer`` prints: a bar, and one line for each scan."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from terminaltables import AsciiTable
from tqdm import tqdm

from lungdet.errors import counted, printable
from lungdet.report.html import PAGE

if TYPE_CHECKING:
    from lungdet.apis.inference_record import InferenceReport, ScanOutcome
    from lungdet.apis.scan_input import ScanInput

BAR = '{percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {desc}'


class InferOutput:
    """The output of a run: outcomes on stdout, failures and caveats on stderr.

    The bar shows the scans, the windows of the current scan, and the time
    left.

    Args:
        scans: How many.
        quiet: Print failures only.
        verbose: Print the caveats and times of each scan too.
        debug: Print the tracebacks of failures too.
    """

    def __init__(
        self, scans: int, *, quiet: bool, verbose: bool, debug: bool
    ) -> None:
        self.total = scans
        self.quiet = quiet
        self.verbose = verbose
        self.debug = debug
        self.done = 0
        self.bar: Any = None

    def __enter__(self) -> InferOutput:
        self.bar = tqdm(
            total=self.total,
            bar_format=BAR,
            disable=True if self.quiet else None,  # None: only on a terminal
            leave=False,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def windows(self, done: int, total: int) -> None:
        """Show the windows of the current scan."""
        self._show(self.done + done / total, f'windows {done}/{total}')

    def scan(self, outcome: ScanOutcome) -> None:
        """Print the outcome of one scan."""
        self.done += 1
        self._show(self.done, '')
        name = f'[{self.done}/{self.total}] {outcome.series_uid}'
        if outcome.state == 'failed':
            self._error(f'lungdet: {name}: failed: {outcome.reason}')
            if self.debug and outcome.error is not None:
                lines = traceback.format_exception(outcome.error)
                tqdm.write(''.join(lines), file=sys.stderr)
        elif not self.quiet:
            tqdm.write(printable(f'{name}: {_summary(outcome)}'))
        if self.verbose:
            for text in outcome.caveats:
                self._error(f'caveat: {outcome.series_uid}: {text}')
            if outcome.seconds:
                times = [f'{k} {v:.1f} s' for k, v in outcome.seconds.items()]
                tqdm.write(f'  {", ".join(times)}')

    def caveat(self, text: str) -> None:
        """Print a caveat about the run."""
        if not self.quiet:
            self._error(f'caveat: {text}')

    def end(self, report: InferenceReport, out: Path) -> None:
        """Print the last line."""
        if report.stopped:
            self._error(f'lungdet: stopped: {report.stopped}')
        if self.quiet:
            return
        if len(report.precisions) > 1:
            self.caveat(
                f'results are in {" and in ".join(report.precisions)}, whose '
                'scores differ slightly; give one of them by --precision'
            )
        counts = [
            f'{counted(report.count("done"), "scan")} done',
            *(
                f'{report.count(state)} {words}'
                for state, words in (
                    ('skipped', 'done before'),
                    ('failed', 'failed'),
                )
                if report.count(state)
            ),
        ]
        if report.untried:
            counts.append(f'{report.untried} not tried')
        print(
            printable(
                f'{", ".join(counts)}; results in {out} (research use only)'
            )
        )
        pages = sorted(out.glob(f'*/{PAGE}'))
        if len(pages) == 1:
            print(printable(f'look at {pages[0]}'))
        elif pages:
            print(printable(f'look at {len(pages)} pages: {out}/*/{PAGE}'))

    def _show(self, done: float, text: str) -> None:
        if self.bar is not None:
            self.bar.n = done
            self.bar.set_description_str(
                f'scan {min(self.done + 1, self.total)}/{self.total} {text}'
            )

    def _error(self, text: str) -> None:
        tqdm.write(printable(text), file=sys.stderr)


def _summary(outcome: ScanOutcome) -> str:
    """One outcome in a few words."""
    parts = [counted(outcome.detections or 0, 'detection')]
    if outcome.best_score is not None:
        parts[0] += f', the best {outcome.best_score:.2f}'
    if outcome.caveats:
        parts.append(counted(len(outcome.caveats), 'caveat'))
    if outcome.state == 'skipped':
        parts.append('done before')
    else:
        parts.append(f'{sum(outcome.seconds.values()):.1f} s')
    return '; '.join(parts)


def series_table(scans: Sequence[ScanInput]) -> str:
    """The scans among the inputs, with what distinguishes them."""
    body = [['scan', 'slices', 'mm', 'description', 'where']]
    for scan in scans:
        where = scan.location
        if scan.member is not None:
            where += f' ({scan.member})'
        known = scan.series_uid is not None
        cells = [
            scan.uid,
            f'{scan.slices}' if known else '',
            f'{scan.thickness:g}' if known else '',
            scan.description or (scan.defect or ''),
            where,
        ]
        body.append([printable(cell) for cell in cells])
    return AsciiTable(body).table
