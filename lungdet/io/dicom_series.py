"""The CT series of a folder, from DICOM headers alone.

A file that cannot be used is a defect of its series and does not affect
others.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungdet.errors import SeriesError, counted
from lungdet.io.dicom_file import read_tags
from lungdet.io.dicom_headers import (
    TAGS,
    SliceHeader,
    series_uid_of,
    skip_reason,
    slices_of,
)
from lungdet.io.files import is_dicom_head, is_litter
from lungdet.io.limits import MAX_DEPTH, MAX_FILES, SLICES

STRAY_SLICES = 5  # fewer slices on another grid are left out
MAX_THICKNESS_MM = 3.0
NOBODY = {'', '0', 'anon', 'anonymous', 'anonymized', 'none', 'unknown'}


class NoSeriesError(SeriesError):
    """A folder without any CT series."""


@dataclass(frozen=True)
class SeriesSummary:
    """One CT series of a folder.

    Attributes:
        series_uid: Identifier.
        slices: Headers of its largest stack.
        defects: Why it cannot be read, one text per file.
        caveats: What was left out of it.
        files: All of its files, also those with a defect.
        beside: A caveat about the other files of the folder.
    """

    series_uid: str
    slices: Sequence[SliceHeader] = ()
    defects: Sequence[str] = ()
    caveats: Sequence[str] = ()
    files: Sequence[Path] = ()
    beside: Sequence[str] = ()

    @property
    def thickness(self) -> float:
        """SliceHeader thickness in mm, infinite if unknown."""
        thickness = self.slices[0].thickness if self.slices else None
        return thickness or float('inf')

    @property
    def patient_id(self) -> str | None:
        """The patient, None if absent or a placeholder."""
        patient = (self.slices[0].patient or '') if self.slices else ''
        return None if patient.lower() in NOBODY else patient

    @property
    def is_volume(self) -> bool:
        """Whether it has enough slices for a volume."""
        return len(self.slices) >= SLICES[0]

    def line(self) -> str:
        """One line for a list, without its description, which may name a
        patient."""
        return (
            f'{self.series_uid} ({len(self.slices)} slices of '
            f'{self.thickness:g} mm)'
        )


def list_series(
    folder: str | Path,
    *,
    depth: int = MAX_DEPTH,
    files: Iterable[Path] | None = None,
) -> list[SeriesSummary]:
    """CT series of a folder; each has a caveat about skipped files.

    Args:
        folder: Linked files in it are read, linked folders are not.
        depth: Levels of subfolders that are searched.
        files: Those of one series, as listed before; nothing is searched.

    Raises:
        NoSeriesError: No CT series at all.
        SeriesError: Too many files, a damaged file of an unknown series, or
            ``files`` that changed.
    """
    slices: defaultdict[str, list[SliceHeader]] = defaultdict(list)
    defects: defaultdict[str, list[str]] = defaultdict(list)
    files_of: defaultdict[str, list[Path]] = defaultdict(list)
    skipped: Counter[str] = Counter()
    paths = _files(Path(folder), depth) if files is None else sorted(files)
    for path in paths:
        if not _is_dicom(path):
            skipped['not DICOM'] += 1
            continue
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            header = read_tags(path, TAGS)
            kind = skip_reason(header, path)
            if kind is not None:
                skipped[kind] += 1
                continue
            uid = series_uid_of(header, path)
            files_of[uid].append(path)
            try:
                slices[uid] += slices_of(header, path)
            except SeriesError as error:
                if not uid:
                    raise
                defects[uid].append(str(error))
    text = ', '.join(f'{n} {kind}' for kind, n in skipped.items())
    if files is not None and (skipped or len(files_of) > 1):
        raise SeriesError(
            f'{folder}: files of the series changed after they had been '
            f'listed ({text or "several series"}); run the command again.'
        )
    if not files_of:
        raise NoSeriesError(
            f'{folder}: no CT series ({len(paths)} files: {text or "empty"});'
            ' give the folder with the CT slices.'
        )
    beside = [f'files skipped: {text}'] if skipped else []
    return [
        _summary(uid, slices[uid], defects[uid], files_of[uid], beside)
        for uid in files_of
    ]


def choose_series(
    series: Sequence[SeriesSummary], folder: Path, wanted: str | None
) -> tuple[SeriesSummary, list[str]]:
    """The series asked for, or the thinnest, and a caveat about the choice.

    Raises:
        SeriesError: None fits, or the chosen one has a defect.
    """
    caveats = []
    chosen = _named(series, folder, wanted) if wanted else series[0]
    if wanted is None and len(series) > 1:
        chosen = _thinnest(series, folder)
        caveats.append(
            f'{len(series)} series in the folder; took {chosen.line()}, the '
            'thinnest with the most slices'
        )
    if chosen.defects:
        first, *others = chosen.defects
        more = f' ({len(others)} more files of the series have a defect.)'
        raise SeriesError(first + more * bool(others))
    return chosen, caveats


def _named(
    series: Sequence[SeriesSummary], folder: Path, wanted: str
) -> SeriesSummary:
    for one in series:
        if one.series_uid == wanted:
            return one
    raise SeriesError(
        f'{folder}: no series {wanted}; there are: {_lines(series)}.'
    )


def _thinnest(series: Sequence[SeriesSummary], folder: Path) -> SeriesSummary:
    full = [s for s in series if s.is_volume]
    thin = [s for s in full if s.thickness <= MAX_THICKNESS_MM]
    if len(full) == 1:
        return full[0]
    if not thin:
        raise SeriesError(
            f'{folder}: {len(series)} series, none with {SLICES[0]} slices or '
            f'more of at most {MAX_THICKNESS_MM:g} mm; choose one with '
            f'--series: {_lines(series)}.'
        )
    return min(thin, key=lambda s: (s.thickness, -len(s.slices)))


def _lines(series: Iterable[SeriesSummary]) -> str:
    return '; '.join(one.line() for one in series)


def _files(folder: Path, depth: int) -> list[Path]:
    """Regular files, linked ones too; a folder that is a link is not read."""
    files = []
    base = len(folder.parts)
    for parent, folders, names in os.walk(
        folder, followlinks=False, onerror=_refuse_unreadable
    ):
        if len(Path(parent).parts) - base >= depth:
            folders.clear()
        folders[:] = [n for n in folders if not is_litter(Path(n))]
        for name in names:
            path = Path(parent) / name
            if not is_litter(path) and _is_regular(path):
                files.append(path)
        if len(files) > MAX_FILES:
            raise SeriesError(
                f'{folder}: more than {MAX_FILES} files; give the folder of '
                'one series.'
            )
    return sorted(files)


def _refuse_unreadable(error: OSError) -> None:
    raise SeriesError(
        f'{error.filename}: {str(error.strerror).lower()}; slices may lie in '
        'it. Check its permissions.'
    ) from error


def _is_regular(path: Path) -> bool:
    """Whether it is a file that can be read to its end.

    Raises:
        SeriesError: A link to nothing: a slice may be missing.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise SeriesError(
            f'{path}: {str(error.strerror).lower()}; fetch what it links to, '
            'or remove it.'
        ) from error


def _is_dicom(path: Path) -> bool:
    try:
        with open(path, 'rb') as file:
            return is_dicom_head(file.read(132))
    except OSError as error:
        _refuse_unreadable(error)
        raise


def _summary(
    uid: str,
    slices: list[SliceHeader],
    defects: list[str],
    files: list[Path],
    beside: list[str],
) -> SeriesSummary:
    """The largest stack of a series; smaller ones are dropped as strays."""
    stacks: list[list[SliceHeader]] = []
    for one in slices:
        for stack in stacks:
            if one.fits(stack[0]):
                stack.append(one)
                break
        else:
            stacks.append([one])
    largest, *others = sorted(stacks, key=len, reverse=True) or [[]]
    strays, two_stacks = [], []
    for stack in others:
        names = ', '.join(one.name for one in stack)
        if len(stack) < STRAY_SLICES:
            strays.append(
                f'{counted(len(stack), "slice")} of another size, spacing or '
                f'orientation left out: {names}'
            )
        else:
            two_stacks.append(
                f'{stack[0].path}: series {uid} holds two stacks '
                f'({len(largest)} and {len(stack)} slices of different '
                'grids); put one in a separate folder.'
            )
    return SeriesSummary(
        uid,
        largest,
        [*defects, *two_stacks, *_mixed(uid, largest)],
        strays,
        files,
        beside,
    )


def _mixed(uid: str, stack: Sequence[SliceHeader]) -> list[str]:
    """A defect if slices of one series are of several patients."""
    for name, what in (
        ('patient', 'patients'),
        ('patient_name', 'patients'),
        ('study', 'examinations'),
    ):
        first: dict[str, SliceHeader] = {}
        for one in stack:
            if value := getattr(one, name):
                first.setdefault(value, one)
        if len(first) > 1:
            a, b, *_ = first.values()
            return [
                f'{b.path}: series {uid} holds slices of {len(first)} {what} '
                f'({a.name} and {b.name} differ); put each in a folder of '
                'its own.'
            ]
    return []
