"""One scan: where it lies, and how its files are opened."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lungdet.dicomweb import Address, fetch_series
from lungdet.io.archive import extract_zip
from lungdet.io.atomic import scratch_folder
from lungdet.prepare.fingerprint import fingerprint, fingerprint_of


@dataclass(frozen=True)
class ScanInput:
    """One scan, and where it lies.

    Attributes:
        uid: Series uid of DICOM, else the file's name; unique in a run.
        path: Image file, DICOM folder, or zip archive; None for a scan on a
            server.
        member: Path in the archive, None outside of one.
        series_uid: Which series of the folder; None for an image file.
        study: Its examination, None if none is stated.
        slices: Slices of a DICOM series, 0 if not known yet.
        image_uids: SOP instance UIDs of a DICOM series in files.
        instances: Files of a series on a server.
        thickness: Slice thickness in mm, infinite if not known.
        description: The scanner's free text; may name a person.
        lung_mask: File of its lungs, None to find them.
        caveats: What was left out beside it.
        defect: Why it cannot be read, as far as is known; None otherwise.
        address: Address of a scan on a server, None for files.
        given: The input that it is of, as the user wrote it; the list and its
            line where a list names it.
        below: Folder among the inputs in which it was found, None if it is an
            input itself.
        files: Paths of its slices below ``inner_path``, as text; empty for
            what is no DICOM folder.
        is_named: Whether an input is this very series, so that it is used
            beside others of its examination.
    """

    uid: str
    path: Path | None
    member: str | None = None
    series_uid: str | None = None
    study: str | None = None
    slices: int = 0
    thickness: float = float('inf')
    description: str = ''
    lung_mask: Path | None = None
    caveats: tuple[str, ...] = ()
    defect: str | None = None
    address: Address | None = None
    image_uids: frozenset[str] = frozenset()
    instances: int = 0
    given: str = ''
    below: Path | None = None
    files: tuple[str, ...] = ()
    is_named: bool = False

    @property
    def location(self) -> str:
        """Its path or address, as text."""
        return str(self.path if self.address is None else self.address)

    @property
    def inner_path(self) -> Path:
        """Its location, continued inside the archive."""
        return Path(self.location, self.member or '')

    def files_in(self, opened: Path) -> list[Path] | None:
        """Its files, sorted; None if they are not known.

        Args:
            opened: Folder given by ``opened``.
        """
        return sorted(map(opened.joinpath, self.files)) or None

    def fingerprint(self) -> int | None:
        """A checksum that changes with the scan.

        Of a DICOM folder it covers the slices of this series, not what else
        is there. In an archive it also depends on the scan's path there,
        which tells the archive's scans apart. For a series on a server, it
        covers its uids and its number of files, which are known without
        fetching it.

        Raises:
            OSError: A file cannot be read.
        """
        if self.address is None:
            if self.path is not None and self.files and self.member is None:
                return fingerprint_of(self.files_in(self.path) or ())
            crc = fingerprint(self.path)
            if crc is None or self.member is None:
                return crc
            return zlib.crc32(os.fsencode(self.member), crc)
        names = f'{self.study} {self.uid} {self.instances}'
        return zlib.crc32(names.encode())

    @contextmanager
    def opened(
        self, scratch: Path, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Path]:
        """Give the file or folder to read, unpacked or fetched if need be.

        Args:
            scratch: Folder for what is unpacked or fetched.
            stopped: Whether to give up fetching.

        Raises:
            SeriesError: As ``extract_zip`` and ``fetch_series``.
        """
        if self.path is not None and self.member is None:
            yield self.path
            return
        with scratch_folder(scratch) as folder:
            if self.address is not None:
                fetch_series(
                    self.address, self.instances, folder, stopped=stopped
                )
            elif self.path is not None:
                extract_zip(self.path, folder)
            yield folder / (self.member or '')
