"""What a run of preparation did, as a table for people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from terminaltables import AsciiTable

from lungdet.prepare.official import OfficialCount, official_counts
from lungdet.structures import CaseRecord


@dataclass(frozen=True)
class Summary:
    """What a run of preparation did.

    Attributes:
        records: All cases now in the folder.
        failed: Series uid -> reason, of scans that could not be prepared.
        skipped: Scans that were done already.
        official_uids: LUNA16's series among the scans.
        caveats: What a reader of the summary must know.
    """

    records: list[CaseRecord]
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    official_uids: Collection[str] = ()
    caveats: list[str] = field(default_factory=list)

    @property
    def official(self) -> int:
        """How many of the scans are LUNA16's."""
        return len(self.official_uids)

    def table(self) -> str:
        """Counts, and every failure with its reason."""
        nodules = [n for r in self.records for n in r.nodules]
        rows = [
            ['', 'found'],
            ['scans', str(len(self.records))],
            ['already done', str(self.skipped)],
            ['with nodules', str(sum(bool(r.nodules) for r in self.records))],
            ['nodules', str(len(nodules))],
            ['nodules with mask', str(sum(n.has_mask for n in nodules))],
            [
                'excluded findings',
                str(sum(len(r.excluded) for r in self.records)),
            ],
            [
                'lungs not found',
                str(sum(r.lung_mask == 'failed' for r in self.records)),
            ],
            ['failed', str(len(self.failed))],
        ]
        lines = [AsciiTable(rows, 'prepared').table]
        if self.official_uids:
            counts = official_counts(self.records, self.official_uids)
            rows = [['', 'found'], *_official_rows(counts)]
            lines.append(AsciiTable(rows, 'LUNA16').table)
        lines += [f'caveat: {text}' for text in self.caveats]
        lines += [f'failed: {u}: {why}' for u, why in self.failed.items()]
        lines += [
            f'caveat: {r.series_uid}: {text}'
            for r in self.records
            for text in r.caveats
        ]
        return '\n'.join(lines)


def _official_rows(counts: dict[str, OfficialCount]) -> list[list[str]]:
    return [
        [what, f'{count.present:,} of {count.official:,} found']
        for what, count in counts.items()
    ]
