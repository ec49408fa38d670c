"""What DICOM exporters share: source headers, masks on source slices, names.

Masks are on the slices as they are stored: a grid that was straightened or
evened out has no slice that a viewer could show them on.

Source: DICOM PS3.3; highdicom 0.28 fails on headers that lack type 2
attributes, as those of anonymised series do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import lungdet
from lungdet.geometry import resample_label_crop
from lungdet.io.atomic import atomic_path
from lungdet.io.results import INTENDED_USE
from lungdet.io.slice_numbers import slice_heights
from lungdet.structures import SeriesResult, SourceSlice

MANUFACTURER = 'lungdet'
EMPTY = (
    *('PatientID', 'PatientName', 'PatientBirthDate', 'PatientSex'),
    *('StudyID', 'StudyDate', 'StudyTime', 'AccessionNumber'),
)
IDENTIFIERS = ('StudyInstanceUID', 'FrameOfReferenceUID')
SEXES = ('M', 'F', 'O', '', None)
UTF_8 = 'ISO_IR 192'
MAX_LO = 64  # characters of a value of VR LO, which has no backslash
SERIES_NUMBER_STEP = 1000  # derived series are numbered far after the scan


class SliceMask(NamedTuple):
    """Where a detection is on a source slice.

    Attributes:
        slice_index: Among ``result.slices``.
        number: Of the detection, from 1.
        region: Rows and columns that ``mask`` covers.
        mask: Boolean (rows, columns) of the region, not empty.
    """

    slice_index: int
    number: int
    region: tuple[slice, slice]
    mask: np.ndarray


@contextmanager
def lenient() -> Iterator[None]:
    """Values that break DICOM's rules stay as the source has them."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def read_headers(slices: Sequence[SourceSlice]) -> list[Any]:
    """Headers without pixels, with the attributes that derived objects need.

    Patient and study are those of the source. Values that are missing, or that
    DICOM does not allow, are empty; identifiers are the same for all slices,
    and made from that of the series if it has none.
    """
    from pydicom import dcmread

    headers = []
    for one in slices:
        with lenient():
            header = dcmread(one.path, stop_before_pixels=True)
            _make_valid(header)
            if not header.get('SliceThickness'):
                header.SliceThickness = float(one.geometry.spacing[0])
        headers.append(header)
    with lenient():
        for name in IDENTIFIERS:
            _set_alike(headers, name)
    return headers


def _make_valid(header: Any) -> None:
    """Empty the values that highdicom refuses, and write text as UTF-8."""
    from pydicom.valuerep import DA, TM

    for name in EMPTY:
        if name not in header:
            setattr(header, name, '')
    kinds = {'PatientBirthDate': DA, 'StudyDate': DA, 'StudyTime': TM}
    for name, kind in kinds.items():
        try:
            kind(header[name].value)
        except ValueError:
            setattr(header, name, '')
    if header.PatientSex not in SEXES:
        header.PatientSex = ''
    if 'SpecificCharacterSet' in header:
        header.SpecificCharacterSet = UTF_8


def _set_alike(headers: Sequence[Any], name: str) -> None:
    """Give all slices the identifier of the first one that has it."""
    from pydicom.uid import generate_uid

    known = [header.get(name) for header in headers if header.get(name)]
    if not known:
        source = [str(headers[0].SeriesInstanceUID), name]
        known = [generate_uid(entropy_srcs=source)]
    for header in headers:
        setattr(header, name, known[0])


def masks_on_slices(result: SeriesResult) -> list[SliceMask]:
    """The detections' masks on the source slices, nearest voxel.

    Each is whole, also where two overlap; one that lies between two slices
    is on none.
    """
    masks = []
    normal, heights = slice_heights(result)
    for number, detection in result.numbered():
        if detection.mask is None or detection.mask_box is None:
            continue
        crop = result.geometry.crop(
            detection.mask_box[:3], detection.mask.shape
        )
        ends = np.array([(-0.5, n - 0.5) for n in crop.shape])
        corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
        along = crop.to_world(corners) @ normal
        near = (heights >= along.min()) & (heights <= along.max())
        for k in np.flatnonzero(near).tolist():
            grid = result.slices[k].geometry
            region, inside = resample_label_crop(detection.mask, crop, grid)
            if inside.any():
                masks.append(SliceMask(k, number, region[1:], inside[0]))
    return masks


def series_arguments(
    header: Any, result: SeriesResult, number: int, what: str
) -> dict[str, Any]:
    """Arguments of highdicom that name a new series of one instance.

    Args:
        header: Header of a source slice.
        result: Result of its scan.
        number: Added to the series number of the source.
        what: The kind of object, for its description.
    """
    import highdicom as hd

    source_number = int(header.get('SeriesNumber') or 0)
    return {
        'series_instance_uid': hd.UID(),
        'series_number': source_number + SERIES_NUMBER_STEP + number,
        'sop_instance_uid': hd.UID(),
        'instance_number': 1,
        'manufacturer': MANUFACTURER,
        'series_description': f'{what}, {MANUFACTURER}: {INTENDED_USE}',
    } | _device(result)


def _device(result: SeriesResult) -> dict[str, Any]:
    model, run = result.model, result.run
    name = model.name if model else MANUFACTURER
    return {
        'manufacturer_model_name': name.replace('\\', '/')[:MAX_LO],
        'software_versions': (
            run.lungdet_version if run else lungdet.__version__
        ),
        'device_serial_number': (
            model.weights_sha256[:16] if model else 'unknown'
        ),
    }


def algorithm(result: SeriesResult) -> tuple[str, str]:
    """Name and version of the network."""
    model = result.model
    if model is None:
        return MANUFACTURER, lungdet.__version__
    version = f'{model.version}, weights {model.weights_sha256[:16]}'
    return f'{MANUFACTURER} {model.name}', version


def save(path: Path, dataset: Any) -> None:
    """Write a DICOM file atomically."""
    with lenient(), atomic_path(path) as aside:
        dataset.save_as(aside)
