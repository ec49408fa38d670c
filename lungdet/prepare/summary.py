"""What a preparation run did, as a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from terminaltables import AsciiTable

from lungdet.errors import printable
from lungdet.prepare.official import official_counts
from lungdet.structures import CaseRecord


@dataclass(frozen=True)
class Summary:
    """What a preparation run did.

    Attributes:
        records: All cases now in the folder.
        failed: Series uid -> reason, of scans that could not be prepared.
        skipped: Scans that were already prepared.
        prepared: Scans that this run prepared.
        untried: Scans that remained when it stopped.
        stopped: Why it stopped, None if it did not.
        official_uids: LUNA16's series among the scans.
        caveats: What anyone who uses the cases must know.
    """

    records: list[CaseRecord]
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    prepared: int = 0
    untried: int = 0
    stopped: str | None = None
    official_uids: Collection[str] = ()
    caveats: list[str] = field(default_factory=list)

    @property
    def official(self) -> int:
        """Number of LUNA16's scans among them."""
        return len(self.official_uids)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, or 3 if scans are missing."""
        return 3 if self.failed or self.stopped else 0

    def table(self) -> str:
        """Counts, caveats, and every failure with its reason."""
        lines = [
            _table('this run', 'scans', self._run_counts()),
            _table('in the folder', 'number', self._counts()),
        ]
        if self.official_uids:
            counts = official_counts(self.records, self.official_uids)
            rows = {
                what: f'{n:,} of {of:,}' for what, (n, of) in counts.items()
            }
            lines.append(_table('LUNA16', 'present', rows))
        told = [f'caveat: {text}' for text in self.caveats]
        told += [f'failed: {u}: {why}' for u, why in self.failed.items()]
        told += [f'stopped: {self.stopped}'] if self.stopped else []
        told += [
            f'caveat: {r.series_uid}: {text}'
            for r in self.records
            for text in r.caveats
        ]
        return '\n'.join([*lines, *map(printable, told)])

    def _run_counts(self) -> dict[str, int]:
        return {
            'prepared': self.prepared,
            'already done': self.skipped,
            'failed': len(self.failed),
            'not tried': self.untried,
        }

    def _counts(self) -> dict[str, int]:
        records = self.records
        nodules = [nodule for r in records for nodule in r.nodules]
        return {
            'scans': len(records),
            'with nodules': sum(bool(r.nodules) for r in records),
            'nodules': len(nodules),
            'nodules with mask': sum(n.has_mask for n in nodules),
            'excluded findings': sum(len(r.excluded) for r in records),
            'lungs not found': sum(r.lung_mask == 'failed' for r in records),
        }


def _table(
    title: str, column: str, rows: Mapping[str, str] | Mapping[str, int]
) -> str:
    body = [['', column], *([what, str(n)] for what, n in rows.items())]
    return AsciiTable(body, title).table
