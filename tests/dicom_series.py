"""Synthetic DICOM series; each test makes its own defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

SLICES, ROWS, COLUMNS, STEP = 26, 16, 24, 2.0
PIXEL = (4.0, 3.5)  # mm between rows, between columns


def write_slice(
    folder: Path,
    k: int,
    hu: np.ndarray,
    *,
    edit: Callable[[FileDataset], None] | None = None,
    name: str = '',
    series: str = '1.2.3',
    z: float | None = None,
) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / (name or f'{99 - k:03d}.dcm')  # names in reverse order
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = series
    data.Modality = 'CT'
    data.ImageType = ['ORIGINAL', 'PRIMARY', 'AXIAL']
    data.Rows, data.Columns = hu.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = 'MONOCHROME2'
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.PixelSpacing = [*PIXEL]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-10, 5, -100 + STEP * k if z is None else z]
    data.SliceThickness = STEP
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.InstanceNumber = SLICES - k
    if edit:
        edit(data)
    slope = float(data.get('RescaleSlope', 1))
    intercept = float(data.get('RescaleIntercept', -1024))
    kind = (np.uint16, np.int16)[data.PixelRepresentation]
    raw = np.rint((hu - intercept) / (slope or 1)).astype(kind)
    data.PixelData = raw.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, truth: np.ndarray, **options: object) -> None:
    for k, plane in enumerate(truth):
        write_slice(folder, k, plane, **options)


def write_frames(
    path: Path, slices: list[Path], *, edit: Callable | None = None
) -> Path:
    """One enhanced multi-frame file of single-frame files, in their order."""
    parts = [pydicom.dcmread(one) for one in slices]
    first = parts[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    for tag in (
        'SeriesInstanceUID Modality ImageType Rows Columns SamplesPerPixel '
        'PhotometricInterpretation BitsAllocated BitsStored HighBit '
        'PixelRepresentation'
    ).split():
        setattr(data, tag, first[tag].value)
    data.SOPClassUID = EnhancedCTImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.NumberOfFrames = len(parts)
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(
        first, 'PixelSpacing', 'SliceThickness'
    )
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for part in parts:
        frame = Dataset()
        frame.PlanePositionSequence = _item(part, 'ImagePositionPatient')
        frame.PlaneOrientationSequence = _item(part, 'ImageOrientationPatient')
        frame.PixelValueTransformationSequence = _item(
            part, 'RescaleSlope', 'RescaleIntercept'
        )
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.PixelData = b''.join(part.PixelData for part in parts)
    if edit:
        edit(data)
    data.save_as(path, enforce_file_format=True)
    return path


def _item(part: Dataset, *tags: str) -> Sequence:
    item = Dataset()
    for tag in tags:
        if tag in part:
            setattr(item, tag, part[tag].value)
    return Sequence([item])


def drop_rescale(data: FileDataset) -> None:
    del data.RescaleSlope, data.RescaleIntercept


def labelled(**tags: object) -> Callable[[FileDataset], None]:
    def edit(data: FileDataset) -> None:
        for tag, value in tags.items():
            setattr(data, tag, value)

    return edit


def without(*tags: str) -> Callable[[FileDataset], None]:
    def edit(data: FileDataset) -> None:
        for tag in tags:
            delattr(data, tag)

    return edit


def raw_text(path: Path, tag: str, text: str) -> None:
    """Put text into a number, as scanners and scripts have done."""
    data = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        element = data[tag]
        data[tag] = pydicom.dataelem.RawDataElement(
            element.tag, element.VR, len(text), text.encode(), 0, False, True
        )
        data.save_as(path)


def store(folder: Path, change: Callable, **tags: object) -> None:
    """Change the stored values of every slice, and some tags."""
    for path in folder.glob('*.dcm'):
        data = pydicom.dcmread(path)
        stored = change(np.frombuffer(data.PixelData, np.uint16).copy())
        data.PixelData = stored.astype(np.uint16).tobytes()
        for tag, value in tags.items():
            if tag.startswith('PixelPadding'):
                data.add_new(tag, 'US', value)
            else:
                setattr(data, tag, value)
        data.save_as(path)
