"""Zip archives of scans: unpacked in bounded space, inside one folder."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from lungdet.errors import NO_SPACE, SeriesError
from lungdet.io.files import check_regular, is_litter
from lungdet.io.limits import MAX_BYTES, MAX_FILES

MAX_RATIO = 200  # of all members together; CT packs about two to one
SMALL_BYTES = 1 << 20  # up to which any ratio is harmless
MAX_PATH = 1000  # characters of a member's name
OTHER_SYSTEMS = frozenset('\\:\0')  # separators and drives of Windows
# zipfile unpacks these in bounded steps, but not bzip2 and LZMA
PACKINGS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# what zipfile raises on archives that are none, cut or changed
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    UnicodeDecodeError,
    RuntimeError,
)


def is_zip(path: Path) -> bool:
    """Whether a file name is that of a zip archive."""
    return path.suffix.lower() == '.zip'


def extract_zip(path: Path, folder: Path) -> None:
    """Unpack the files of an archive.

    All names and sizes are checked before anything is written. The standard
    library unpacks no more of a member than its stated size, and compares
    its checksum. Messages give the numbers of members, as ``unzip -l`` lists
    them from 1: their names may be those of patients.

    Args:
        path: The archive.
        folder: An empty folder for its files.

    Raises:
        SeriesError: Not a zip archive, damaged or encrypted; a member that is
            a link or leaves the folder; more files or bytes than a scan has.
        OSError: It cannot be read, or the disk is full.
    """
    size = check_regular(path)
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise SeriesError(
            f'{path}: not a zip archive that can be read ({error}); copy or '
            'pack it again.'
        ) from error
    with archive:
        for member, parts, where in _checked(archive.infolist(), path, size):
            try:
                _extract(archive, member, folder.joinpath(*parts))
            except DAMAGE as error:
                raise SeriesError(
                    f'{where} is damaged; copy or pack the archive again.'
                ) from error
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise SeriesError(
                    f'{where} is both a file and a folder; pack it again.'
                ) from None
            except OSError as error:
                if error.errno in NO_SPACE:
                    raise OSError(
                        error.errno, error.strerror, str(folder)
                    ) from error
                raise SeriesError(
                    f'{where} cannot be unpacked '
                    f'({str(error.strerror).lower()}); unpack it yourself.'
                ) from error


def _checked(
    members: list[zipfile.ZipInfo], path: Path, packed: int
) -> list[tuple[zipfile.ZipInfo, tuple[str, ...], str]]:
    """The files among the members, the parts of their names, and what
    messages call them."""
    if len(members) > MAX_FILES:
        raise SeriesError(
            f'{path}: {len(members)} members (limit {MAX_FILES}); pack the '
            'files of one examination.'
        )
    size = sum(member.file_size for member in members)
    if size > MAX_BYTES or size > max(packed * MAX_RATIO, SMALL_BYTES):
        raise SeriesError(
            f'{path}: {packed} bytes claim to unpack to {size} (limit '
            f'{MAX_BYTES:.2g}, and {MAX_RATIO} to one); pack one examination.'
        )
    files: dict[tuple[str, ...], tuple[zipfile.ZipInfo, str]] = {}
    for number, member in enumerate(members, start=1):
        where = f'{path}: archive member {number} of {len(members)}'
        parts = _parts(member, where)
        if member.is_dir() or any(is_litter(Path(part)) for part in parts):
            continue
        if parts in files:
            raise SeriesError(f'{where} occurs twice; pack it again.')
        files[parts] = member, where
    return [(member, parts, where) for parts, (member, where) in files.items()]


def _parts(member: zipfile.ZipInfo, where: str) -> tuple[str, ...]:
    """The parts of a member's name, all below the folder.

    Raises:
        SeriesError: A name that leads out of the folder, a link, or an
            encrypted member.
    """
    name = member.filename
    parts = PurePosixPath(name).parts
    if (
        (not parts and not name.endswith('/'))  # './' is the folder itself
        or PurePosixPath(name).is_absolute()
        or '..' in parts
        or OTHER_SYSTEMS & set(name)
        or len(name) > MAX_PATH
    ):
        raise SeriesError(
            f'{where} leaves the folder, or cannot be a file there; pack it '
            'again with plain names.'
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise SeriesError(
            f'{where} is a link or a device; pack the files themselves.'
        )
    if member.flag_bits & 1:
        raise SeriesError(f'{where} is encrypted; pack it without a password.')
    if member.compress_type not in PACKINGS:
        raise SeriesError(
            f'{where} is packed by method {member.compress_type}, which is '
            'not supported; pack it with deflate, the usual one.'
        )
    return parts


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as packed, open(target, 'xb') as file:
        shutil.copyfileobj(packed, file)
