"""One DICOM file to a pydicom Dataset; deflated files within limits.

pydicom unpacks a deflated file completely, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from lungdet.errors import SeriesError
from lungdet.io.inflate import inflate_at_most
from lungdet.io.limits import MAX_BYTES

DEFLATED = '1.2.840.10008.1.2.1.99'
DICOMDIR = '1.2.840.10008.1.3.10'  # the index of a disc
MAX_TAGS = 1 << 24  # bytes of a file's tags, without its pixels
PIXEL_GROUP = b'\xe0\x7f'  # 7FE0, little-endian
PREAMBLE, GROUP_LENGTH = 132, 12  # bytes before and of the first meta tag


def read_tags(path: Path, tags: Sequence[str]) -> Any:
    """Some tags of a regular file (a pydicom Dataset), without its pixels.

    Raises:
        SeriesError: A damaged or truncated header, of which pydicom returns
            what is left, or one that unpacks to more than ``MAX_TAGS``.
    """
    import pydicom

    try:
        plain = _plain(path, MAX_TAGS, whole=False)
        header = pydicom.dcmread(
            plain, stop_before_pixels=True, specific_tags=[*tags]
        )
        _check_unpacked(plain, path)
        whole = all(
            len(getattr(element, 'value', None) or b'')
            >= getattr(element, 'length', 0)
            for element in header.values()
        )
        stored = header.file_meta.get('MediaStorageSOPClassUID')
    except SeriesError:
        raise
    except Exception as error:  # pydicom raises what damaged bytes lead to
        raise SeriesError(
            f'{path}: damaged DICOM header ({error}); copy it again.'
        ) from error
    is_index = str(stored).strip() == DICOMDIR
    if not whole or 'SOPClassUID' not in header and not is_index:
        raise SeriesError(
            f'{path}: the DICOM header is cut; copy the file again, or '
            'remove it.'
        )
    return header


def _check_unpacked(plain: Path | BytesIO, path: Path) -> None:
    """Refuse tags that unpacking did not reach the end of."""
    if isinstance(plain, Path) or plain.getbuffer().nbytes < MAX_TAGS:
        return
    if plain.read(len(PIXEL_GROUP)) != PIXEL_GROUP:
        raise SeriesError(
            f'{path}: unpacking its deflated tags was stopped at the limit of '
            f'{MAX_TAGS:,} bytes, before the pixels; the file is damaged, or '
            'made to fill the memory. Remove it, or export the series '
            'uncompressed.'
        )


def stored_pixels(path: Path, pixel_bytes: int) -> Any:
    """Stored values (frames, rows, columns) of an uncompressed file.

    Args:
        path: The file.
        pixel_bytes: Size stated by its tags.

    Raises:
        SeriesError: More bytes than stated.
        Exception: Whatever pydicom raises on damaged bytes.
    """
    import pydicom
    from pydicom.pixels import pixel_array

    if not 0 < pixel_bytes <= MAX_BYTES:
        raise SeriesError(
            f'{path}: the tags claim {pixel_bytes} bytes of pixels (limit '
            f'{MAX_BYTES:.2g}); correct Rows, Columns or NumberOfFrames.'
        )
    plain = _plain(path, MAX_TAGS + pixel_bytes, whole=True)
    source = pydicom.dcmread(plain) if isinstance(plain, BytesIO) else plain
    # the caller checks the spare bits
    array = pixel_array(source, correct_unused_bits=False)
    return array if array.ndim == 3 else array[None]


def _plain(path: Path, most: int, *, whole: bool) -> Path | BytesIO:
    """The file itself, or the unpacked content of a deflated one."""
    from pydicom.filereader import read_file_meta_info
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import ExplicitVRLittleEndian

    meta = read_file_meta_info(path)
    if meta.get('TransferSyntaxUID') != DEFLATED:
        return path
    with open(path, 'rb') as file:
        file.seek(
            PREAMBLE + GROUP_LENGTH + meta.FileMetaInformationGroupLength
        )
        packed = file.read(most)  # deflate hardly ever makes data longer
    content = inflate_at_most(packed, most, str(path), whole=whole)
    plain: Any = BytesIO()
    plain.write(bytes(PREAMBLE - 4) + b'DICM')
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    write_file_meta_info(plain, meta, enforce_standard=False)
    plain.write(content)
    plain.seek(0)
    return plain
