"""The result formats, and the export of one scan to several of them.

Every module of this package that has an ``EXPORTER`` is a format of its name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import numpy as np

from lungdet.errors import ConfigError, LungdetError, SeriesError
from lungdet.exporters.base import Exporter, ExportInput
from lungdet.io.atomic import check_writable
from lungdet.structures import SeriesResult, SourceSlice

DEFAULT_FORMATS = ('json', 'luna16', 'nifti', 'picture', 'html')


def find_exporters() -> dict[str, Exporter]:
    """The exporters among the modules of this package, by the module's name,
    in the order of writing."""
    exporters = {}
    for name in sorted(m.name for m in iter_modules([Path(__file__).parent])):
        module = import_module(f'.{name}', __package__)
        if isinstance(exporter := getattr(module, 'EXPORTER', None), Exporter):
            exporters[name] = exporter
    return dict(sorted(exporters.items(), key=lambda item: item[1].order))


EXPORTERS = find_exporters()


class UnfitSourceError(SeriesError):
    """A format refers to what a scan does not have."""


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once and in the order of writing.

    Raises:
        ConfigError: An unknown format, or one whose library is missing.
    """
    if unknown := sorted(set(names) - EXPORTERS.keys()):
        raise ConfigError(
            f'formats: {", ".join(map(repr, unknown))} unknown; choose from '
            f'{", ".join(sorted(EXPORTERS))}.'
        )
    chosen = tuple(name for name in EXPORTERS if name in set(names))
    for name in chosen:
        exporter = EXPORTERS[name]
        if exporter.library and find_spec(exporter.library) is None:
            raise ConfigError(
                f'formats: {name} needs {exporter.library}, which is not '
                f"installed; pip install 'lungdet[{exporter.extra}]'."
            )
    return chosen


def check_source(
    names: Sequence[str], series_uid: str, slices: Sequence[SourceSlice]
) -> None:
    """Refuse formats that a scan cannot be written in, before it is processed.

    Args:
        names: Names of the formats.
        series_uid: The scan, for the message.
        slices: Those of a DICOM series; none for an image file.

    Raises:
        UnfitSourceError: A format needs DICOM slices in files of their own,
            each with a SOPInstanceUID.
    """
    lacking = [name for name in names if EXPORTERS[name].needs_dicom]
    if not lacking:
        return
    if slices and all(s.frame is None for s in slices):
        unnamed = [s.path for s in slices if not s.sop_instance_uid]
        if not unnamed:
            return
        raise UnfitSourceError(
            f'scan {series_uid}: {", ".join(lacking)} refers to slices by '
            f'their SOPInstanceUID, and {len(unnamed)} of {len(slices)} have '
            f'none, first {unnamed[0]}; add it, or leave the format out.'
        )
    what = 'one multi-frame file' if slices else 'an image file'
    raise UnfitSourceError(
        f'scan {series_uid}: {", ".join(lacking)} refers to DICOM slices in '
        f'files of their own, and this scan is {what}; give the DICOM slices, '
        'or leave the format out.'
    )


def make_result_folder(path: str | Path) -> Path:
    """Create the folder for results if needed, and write to it.

    Raises:
        NotADirectoryError: The folder is a file.
        OSError: It cannot be written to.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f'{folder}: is a file, results need a folder; choose another name.'
        )
    return check_writable(folder, 'the results')


def export_result(
    folder: str | Path,
    result: SeriesResult,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    image: np.ndarray | None = None,
) -> SeriesResult:
    """Write a scan's result in several formats.

    What an earlier export left in the folder is removed, whatever its formats;
    other files stay.

    Args:
        folder: Existing folder of this scan alone.
        result: With masks, if there are any.
        formats: Names in ``EXPORTERS``.
        image: int16 HU (z, y, x) on ``result.geometry``, for pictures.

    Returns:
        The result with the names of its files, the time of writing, which in
        ``result.json`` ends where that file begins, and caveats about what a
        format cannot hold.

    Raises:
        ConfigError: As ``check_formats``.
        SeriesError: As ``check_source``, or for headers that a format cannot
            refer to.
    """
    started = time.perf_counter()
    folder = Path(folder)
    chosen = check_formats(formats)
    check_source(chosen, result.series_uid, result.slices)
    remove_exports(folder)
    caveats = [*result.caveats]
    for name in chosen:
        added = EXPORTERS[name].caveats(result)
        caveats += [text for text in added if text not in caveats]
    result = replace(result, files={}, caveats=caveats)
    for name in chosen:
        result = _with_write_time(result, time.perf_counter() - started)
        files = _written(folder, name, ExportInput(result, image))
        if files:
            result = replace(result, files={**result.files, name: files})
    return _with_write_time(result, time.perf_counter() - started)


def _written(folder: Path, name: str, scan: ExportInput) -> list[str]:
    """Write one format.

    Raises:
        UnfitSourceError: The headers of the DICOM scan cannot be referred to.
    """
    exporter = EXPORTERS[name]
    try:
        return exporter.write(folder, scan)
    except LungdetError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if not exporter.needs_dicom:
            raise
        raise UnfitSourceError(
            f'{name}: cannot be written for this DICOM series: '
            f'{type(error).__name__} from its headers (--debug shows more); '
            f'choose --formats without {name}.'
        ) from error


def _with_write_time(result: SeriesResult, seconds: float) -> SeriesResult:
    if result.run is None:
        return result
    times = {**result.run.seconds, 'write': round(seconds, 3)}
    return replace(result, run=replace(result.run, seconds=times))


def remove_exports(folder: Path) -> None:
    """Remove the files of every format from a folder."""
    for exporter in EXPORTERS.values():
        for pattern in exporter.files:
            for path in folder.glob(pattern):
                path.unlink()
