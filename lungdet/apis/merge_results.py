"""Results of several runs, or parts of one, in one submission and table."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungdet.apis.inference_record import (
    RECORD,
    InferenceRecord,
    read_inference_record,
)
from lungdet.apis.scan_list import FILES, largest_lists, read_scan_lists
from lungdet.apis.scan_names import shorter_name
from lungdet.errors import ConfigError
from lungdet.io.atomic import check_writable, write_text
from lungdet.io.luna16 import SCAN_LIST, write_submission, write_table
from lungdet.io.results import RESULT, read_result
from lungdet.structures import SeriesResult

SUBMISSION, TABLE = 'submission.csv', 'detections.csv'
# fields of a detection that may be unknown
OPTIONAL_COLUMNS = (
    *('diameter_mm', 'volume_mm3', 'slice_number', 'instance_number'),
    *('lung_side', 'lung_zone'),
)
COLUMNS = (
    *('seriesuid', 'id', 'coordX', 'coordY', 'coordZ', 'probability'),
    *OPTIONAL_COLUMNS,
)
# settings of the scan itself, and of its files
OF_SCAN = {'scan', 'lung_mask', 'hu_offset', 'formats'}
FORMULA = ('=', '+', '-', '@')  # in front: a spreadsheet runs the text


class MissingResultsError(ConfigError):
    """A run's list names scans that have no result."""


@dataclass(frozen=True)
class MergedResults:
    """What was merged.

    Attributes:
        results: One for each scan, by series uid.
        caveats: What anyone who uses them together must know.
    """

    results: tuple[SeriesResult, ...]
    caveats: tuple[str, ...]

    @property
    def detections(self) -> int:
        """Number of detections on all scans."""
        return sum(len(result.detections) for result in self.results)


def merge_results(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    allow_missing: bool = False,
) -> MergedResults:
    """Write submission.csv, detections.csv and seriesuids.csv.

    The first is in LUNA16's format; the last lists the scans for scoring,
    including those without detections.

    Args:
        folders: Outputs of ``lungdet infer``, or folders of single scans.
        out: Folder for the files.
        allow_missing: Merge what is there; what is missing is a caveat.

    Raises:
        MissingResultsError: A scan of a run has no result: it failed, or its
            part was not run, or not to its end.
        ConfigError: No result, results of different models or thresholds, or
            different results of one scan.
        SeriesError: A damaged file.
        OSError: ``out`` cannot be written to.
    """
    kept: dict[str, tuple[Path, InferenceRecord]] = {}
    for folder, record in _records(folders):
        first = next(iter(kept.values()), None)
        if first is not None:
            _check_alike(folder, record, *first)
        other = kept.setdefault(record.series_uid, (folder, record))
        if other[1].differences(record.settings):
            raise ConfigError(
                f'{folder}: series {record.series_uid} has another result in '
                f'{other[0]}; leave one of them out.'
            )
    if not kept:
        raise ConfigError(
            f'{", ".join(map(str, folders))}: no result there ({RECORD}); '
            'give the folders that lungdet infer wrote.'
        )
    _check_renamed(kept)
    missing = _missing(folders, kept)
    if missing and not allow_missing:
        raise MissingResultsError(
            f'{"; ".join(missing)}; they failed, or were not processed. Run '
            'lungdet infer on them again, or merge without them by '
            '--allow-missing. If they are done under other names, such as '
            'scans of a folder that could not be read, remove the list of the '
            f'earlier run ({FILES}).'
        )
    results = tuple(_result(kept[uid][0]) for uid in sorted(kept))
    target = check_writable(out, 'the merged files')
    write_submission(target / SUBMISSION, results)
    write_table(target / TABLE, [*_lines(results)], COLUMNS)
    _write_scans(target / SCAN_LIST, results)
    return MergedResults(
        results, (*missing, *_unlisted(folders), *_caveats(results))
    )


def _records(
    folders: Sequence[str | Path],
) -> Iterator[tuple[Path, InferenceRecord]]:
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ConfigError(
                f'{folder}: is not a folder; give those that lungdet infer '
                'wrote.'
            )
        for path in sorted(
            [*folder.glob(RECORD), *folder.glob(f'*/{RECORD}')]
        ):
            record = read_inference_record(path.parent)
            if record is not None:
                yield path.parent, record


def _check_alike(
    folder: Path,
    record: InferenceRecord,
    first: Path,
    of_first: InferenceRecord,
) -> None:
    names = [
        name
        for name in of_first.differences(record.settings)
        if name not in OF_SCAN
    ]
    if names:
        raise ConfigError(
            f'{folder}: was made with another {", ".join(names)} than '
            f'{first}; their scores cannot be in one list. Merge them apart.'
        )


def _check_renamed(kept: Mapping[str, tuple[Path, InferenceRecord]]) -> None:
    """Refuse two results of a file that got a longer name in a later run."""
    for uid, (folder, record) in kept.items():
        before, earlier = kept.get(shorter_name(uid), (folder, record))
        scan = record.settings.get('scan')
        if before != folder and earlier.settings.get('scan') == scan:
            raise ConfigError(
                f'{before}: is of the same scan as {folder}, which got a '
                'longer name when a file of its name was added; remove '
                f'{before}.'
            )


def _missing(
    folders: Sequence[str | Path], done: Collection[str]
) -> list[str]:
    """What the runs' lists name beyond the results, one text for each part."""
    lists = [
        one for folder in folders for one in read_scan_lists(Path(folder))
    ]
    return [text for one in largest_lists(lists) for text in one.missing(done)]


def _unlisted(folders: Sequence[str | Path]) -> list[str]:
    return [
        f'{folder}: has no list of the scans of its run; whether any is '
        'missing is not known'
        for folder in map(Path, folders)
        if not (folder / RECORD).is_file() and not read_scan_lists(folder)
    ]


def _result(folder: Path) -> SeriesResult:
    if not (folder / RESULT).is_file():
        raise ConfigError(
            f'{folder}: has no {RESULT}; run lungdet infer with json among '
            'its --formats.'
        )
    return read_result(folder / RESULT)


def _write_scans(path: Path, results: Sequence[SeriesResult]) -> None:
    """The list of scans; names with commas are quoted, as in the others."""
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerows([one.series_uid] for one in results)
    write_text(path, text.getvalue())


def _lines(results: Sequence[SeriesResult]) -> Iterator[dict[str, Any]]:
    """One line of the table for each detection."""
    for result in results:
        uid = result.series_uid
        scan = f"'{uid}" if uid.startswith(FORMULA) else uid
        for number, one in result.numbered():
            x, y, z = one.center_mm
            known = {name: getattr(one, name) for name in OPTIONAL_COLUMNS}
            yield {
                'seriesuid': scan,
                'id': number,
                'coordX': round(x, 6),
                'coordY': round(y, 6),
                'coordZ': round(z, 6),
                'probability': one.score,
                **{k: '' if v is None else v for k, v in known.items()},
            }


def _caveats(results: Sequence[SeriesResult]) -> tuple[str, ...]:
    """Caveats if precisions, backends or versions differ."""
    caveats = []
    for name in ('precision', 'backend', 'lungdet_version'):
        values = sorted({getattr(r.run, name) for r in results if r.run})
        if len(values) > 1:
            caveats.append(f'{name} differs: {", ".join(values)}')
    doubtful = sum(bool(result.caveats) for result in results)
    if doubtful:
        caveats.append(
            f'{doubtful} of {len(results)} results have caveats; {RESULT} '
            'holds them'
        )
    return tuple(caveats)
