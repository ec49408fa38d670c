from __future__ import annotations

import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from lungdet.errors import SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import (
    drop_rescale,
    labelled,
    raw_text,
    write_series,
    write_slice,
)


def test_rescale_differs_by_slice(tmp_path: Path, truth: np.ndarray) -> None:
    for k, plane in enumerate(truth):

        def edit(data: FileDataset, k: int = k) -> None:
            data.RescaleSlope, data.RescaleIntercept = 0.5, -1024 - k

        write_slice(tmp_path, k, plane, edit=edit)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_compressed_slices_are_decoded(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.save_as(path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_cut_pixels_are_refused(tmp_path: Path, truth: np.ndarray) -> None:
    write_series(tmp_path, truth)
    path = tmp_path / '095.dcm'
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[:100]
    data.save_as(path)

    with pytest.raises(SeriesError, match=r'095\.dcm: pixels .*\(16,24\)'):
        load_volume(tmp_path)


def test_upper_bits_are_no_part_of_the_value(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=labelled(BitsStored=12, HighBit=11))
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        stored = np.frombuffer(data.PixelData, np.uint16)
        data.PixelData = (stored | 0x4000).tobytes()  # an overlay's bit
        data.save_as(path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def test_unsupported_compression_is_named(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        data.compress(pydicom.uid.RLELossless)
        data.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.4.201'
        data.save_as(path)

    with pytest.raises(SeriesError, match='syntax 1.2.840.10008.1.2.4.201'):
        load_volume(tmp_path)


def store(folder: Path, change: Callable, **tags: object) -> None:
    """Change the stored values of every slice, and some tags."""
    for path in folder.glob('*.dcm'):
        data = pydicom.dcmread(path)
        stored = change(np.frombuffer(data.PixelData, np.uint16).copy())
        data.PixelData = stored.astype(np.uint16).tobytes()
        for tag, value in tags.items():
            if tag == 'PixelPaddingValue':
                data.add_new(tag, 'US', value)
            else:
                setattr(data, tag, value)
        data.save_as(path)


def padded(stored: np.ndarray) -> np.ndarray:
    stored[:60] = 63536  # -2000 in a file of values without sign
    return stored


def test_named_padding_without_sign_is_padding(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    store(tmp_path, padded, PixelPaddingValue=63536)

    array = load_volume(tmp_path).array

    flat = truth.reshape(len(truth), -1)
    read = array.reshape(len(truth), -1)
    assert (read[:, :60] == -3024).all()
    np.testing.assert_array_equal(read[:, 60:], flat[:, 60:])


@pytest.mark.parametrize(
    ('change', 'tags', 'reason'),
    [
        (padded, {}, 'exceed 16 bits after rescaling'),
        (lambda v: v - 1024, {'RescaleIntercept': 0}, 'exceed 16 bits'),
        (
            lambda v: v - 1024,
            {'RescaleIntercept': 0, 'BitsStored': 12, 'HighBit': 11},
            'PixelRepresentation says that there are none',
        ),
        (
            lambda v: v + 2000,
            {'PixelRepresentation': 1, 'BitsStored': 12, 'HighBit': 11},
            'PixelRepresentation says that they have one',
        ),
        (lambda v: v, {'BitsStored': 12}, 'HighBit 15'),
        (lambda v: v, {'BitsStored': 0, 'HighBit': 0}, 'BitsStored is 0'),
        (lambda v: v, {'RescaleSlope': -1}, 'upside down'),
    ],
)
def test_values_that_contradict_their_tags_are_refused(
    tmp_path: Path,
    truth: np.ndarray,
    change: Callable,
    tags: dict,
    reason: str,
) -> None:
    write_series(tmp_path, truth)
    store(tmp_path, change, **tags)

    with pytest.raises(SeriesError, match=reason):
        load_volume(tmp_path)


@pytest.mark.parametrize('tag', ['RescaleSlope', 'RescaleIntercept'])
@pytest.mark.parametrize('text', ['nan', 'inf ', '-inf'])
def test_one_slice_of_no_scale_is_refused(
    tmp_path: Path, truth: np.ndarray, tag: str, text: str
) -> None:
    write_series(tmp_path, truth)
    raw_text(tmp_path / '090.dcm', tag, text)

    with pytest.raises(SeriesError, match=f'090.dcm: {tag} cannot be read'):
        load_volume(tmp_path)


def test_padding_does_not_hide_that_the_offset_is_unknown(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth, edit=labelled(PixelRepresentation=1))
    store(
        tmp_path,
        lambda stored: np.r_[np.full(60, 63536, np.uint16), stored[60:]],
    )
    for path in tmp_path.glob('*.dcm'):
        data = pydicom.dcmread(path)
        drop_rescale(data)
        data.save_as(path)

    with pytest.raises(SeriesError, match='hu-offset'):
        load_volume(tmp_path)
    array = load_volume(tmp_path, hu_offset=-1024).array

    read, flat = array.reshape(26, -1), truth.reshape(26, -1)
    np.testing.assert_array_equal(read[:, 60:], flat[:, 60:])


def test_a_corrected_file_is_read_again(
    tmp_path: Path, truth: np.ndarray
) -> None:
    write_series(tmp_path, truth)
    first, last = tmp_path / '099.dcm', tmp_path / '074.dcm'
    good, whole = first.read_bytes(), last.read_bytes()
    times = first.stat()
    first.write_bytes(good[:-2] + b'\x07\x07')
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    last.write_bytes(whole[:-100])
    with pytest.raises(SeriesError):
        load_volume(tmp_path)
    first.write_bytes(good)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    last.write_bytes(whole)

    np.testing.assert_array_equal(load_volume(tmp_path).array, truth)


def deflate(path: Path, content: bytes | None = None) -> None:
    """Write a file again with the deflated transfer syntax."""
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = (
        pydicom.uid.DeflatedExplicitVRLittleEndian
    )
    data.save_as(path)
    if content is not None:
        head = path.read_bytes()
        length = 144 + data.file_meta.FileMetaInformationGroupLength
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
    with pytest.raises(SeriesError, match=r'090\.dcm'):
        load_volume(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100_000_000
