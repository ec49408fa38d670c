"""SEG and SR of finished scans, back to the server that they came from.

Storing is a step after the result: what failed is stored by the next run,
without the network, and keeps its identifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lungdet.apis.inference_record import InferenceRecord, ScanOutcome
from lungdet.apis.scan_input import ScanInput
from lungdet.dicomweb import Address, store_files
from lungdet.errors import ConfigError, SeriesError, explain

STORED_FORMATS = ('dicom_seg', 'dicom_sr')
FILES = ('seg.dcm', 'sr.dcm')


def check_storable(scans: Sequence[ScanInput], formats: Sequence[str]) -> None:
    """Refuse what cannot be stored, before any work.

    Raises:
        ConfigError: A scan of a file, or formats without SEG and SR.
    """
    if lacking := [name for name in STORED_FORMATS if name not in formats]:
        raise ConfigError(
            f'store: needs the format {" and ".join(lacking)}; name it too.'
        )
    files = [scan for scan in scans if scan.address is None]
    if files:
        raise ConfigError(
            f'store: {files[0].uid} is a file, and would go to no server; '
            'give addresses only, or do not store.'
        )


def store_results(
    folder: Path, record: InferenceRecord, address: Address, state: str
) -> ScanOutcome:
    """Store what is not stored yet, and note it in the scan's record.

    Args:
        folder: Folder of the scan's results.
        record: Record of the scan.
        address: That it was fetched from.
        state: State of the outcome if everything was stored.
    """
    paths = [
        folder / name
        for name in FILES
        if (folder / name).is_file()
        and record.stored.get(name) != address.root
    ]
    if not paths:
        return record.outcome(state)
    try:
        outcomes = store_files(address, paths)
    except (SeriesError, OSError) as error:
        return _failed(record, explain(error))
    taken = {one.name: address.root for one in outcomes if not one.failure}
    record = replace(record, stored={**record.stored, **taken})
    record.write(folder)
    failures = [f'{one.name} {one.failure}' for one in outcomes if one.failure]
    if not failures:
        return record.outcome(state)
    return _failed(
        record,
        f'{len(taken)} of {len(paths)} files stored at {address.root}: '
        f'{", ".join(failures)}',
    )


def _failed(record: InferenceRecord, why: str) -> ScanOutcome:
    reason = f'not stored: {why.rstrip(".")}; the results are in its folder, '
    reason += 'and the same command stores what is missing.'
    return replace(record.outcome('failed'), reason=reason)
