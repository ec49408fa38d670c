from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    write_series,
)


def deflate(path: Path, content: bytes | None = None) -> None:
    """Write a file again with the deflated transfer syntax."""
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = (
        pydicom.uid.DeflatedExplicitVRLittleEndian
    )
    data.save_as(path)
    if content is not None:
        head = path.read_bytes()
        meta = pydicom.filereader.read_file_meta_info(path)
        length = 144 + meta.FileMetaInformationGroupLength
        packer = zlib.compressobj(9, wbits=-15)
        packed = packer.compress(content) + packer.flush()
        path.write_bytes(head[:length] + packed)


def test_deflated_files_are_read(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    for path in tmp_path.glob('*.dcm'):
        deflate(path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_a_deflated_file_cannot_take_all_memory(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    plain = (tmp_path / '090.dcm').read_bytes()
    data = pydicom.dcmread(tmp_path / '090.dcm')
    start = 144 + data.file_meta.FileMetaInformationGroupLength
    body = bytearray(plain[start:]) + bytes(400_000_000)
    deflate(tmp_path / '090.dcm', bytes(body))

    tracemalloc.start()
    with pytest.raises(SeriesError, match=r'090\.dcm.*gives over'):
        load_volume(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100_000_000


@pytest.mark.parametrize('tag', [b'\x20\x00\x0e\x00', b'\x08\x00\x16\x00'])
def test_tags_that_unpack_without_end_are_stopped_and_told(
    tmp_path: Path, truth: np.ndarray, tag: bytes
) -> None:
    """From the series UID, or from the first tag, on there are zeros."""
    write_series(tmp_path, truth)
    path = tmp_path / '090.dcm'
    plain = path.read_bytes()
    meta = pydicom.filereader.read_file_meta_info(path)
    start = 144 + meta.FileMetaInformationGroupLength
    end = plain.index(tag, start)
    deflate(path, plain[start:end] + bytes(20_000_000))

    with pytest.raises(SeriesError, match=r'090\.dcm: unpacking .* stopped'):
        load_volume(tmp_path)


def test_cut_file_is_named_wherever_it_ends(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth[:10])
    path = tmp_path / '095.dcm'
    whole = path.read_bytes()
    for keep in range(140, len(whole), 41):
        path.write_bytes(whole[:keep])

        with pytest.raises(SeriesError, match='095.dcm'):
            load_volume(tmp_path)
