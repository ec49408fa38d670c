"""Scans and other 3D images in every supported format.

The loader of a new format is one module with a function from a path to a
``FileImage``, and one line of ``LOADERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from lungdet.errors import SeriesError, printable
from lungdet.geometry import Geometry, reorient
from lungdet.io.atomic import atomic_path
from lungdet.io.dicom import read_dicom_series
from lungdet.io.file_image import FileImage
from lungdet.io.files import check_regular
from lungdet.io.hu_rules import to_hu
from lungdet.io.limits import check_chest
from lungdet.io.metaimage import read_metaimage, write_mhd
from lungdet.io.nifti import read_nifti
from lungdet.io.nrrd import read_nrrd
from lungdet.structures import Volume

LOADERS: dict[str, Callable[[Path], FileImage]] = {
    '.mhd': read_metaimage,
    '.mha': read_metaimage,
    '.nii': read_nifti,
    '.nii.gz': read_nifti,
    '.nrrd': read_nrrd,
}
SUFFIXES = tuple(LOADERS)


def load_volume(
    path: str | Path,
    *,
    series_uid: str | None = None,
    hu_offset: int | None = None,
    files: Iterable[Path] | None = None,
) -> Volume:
    """Read a CT from an image file or a folder with a DICOM series.

    Args:
        path: A file with one of the suffixes in ``LOADERS``, or a folder.
        series_uid: Which series, if the folder has several.
        hu_offset: Added to values that were stored without their offset.
        files: Of a folder, the files of the series if they are known; see
            ``list_series``.

    Returns:
        int16 HU, in the order of voxels whose direction is the identity, or as
        near to it as reordering comes.

    Raises:
        SeriesError: Not readable as one CT volume; says file and reason.
        FileNotFoundError: ``path`` does not exist.
    """
    path, name = Path(path), stem(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: not there; check the path.')
    if not path.is_dir():
        image = read_image(path)
    else:
        image = read_dicom_series(path, series_uid=series_uid, files=files)
    array, geometry = reorient(image.array, image.geometry)
    check_chest(image.where, geometry)
    hu, caveats = to_hu(replace(image, array=array), hu_offset=hu_offset)
    return Volume(
        hu,
        geometry,
        series_uid=image.series_uid or name,
        caveats=[*image.caveats, *caveats],
        source_geometry=(
            None if geometry is image.geometry else image.geometry
        ),
        patient_id=image.patient_id,
        slices=image.slices,
    )


def read_image(path: str | Path) -> FileImage:
    """Read any 3D image, such as a mask, as its file states it.

    Args:
        path: A file with one of the suffixes in ``LOADERS``.

    Raises:
        SeriesError: As ``load_volume``.
        FileNotFoundError: No file at ``path``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: not a file; check the path.')
    suffix = suffix_of(path)
    if suffix is None:
        raise SeriesError(
            f'{path}: unknown image type; give one of {", ".join(SUFFIXES)}, '
            'or the folder with the slices of a DICOM series.'
        )
    if check_regular(path) == 0:
        raise SeriesError(f'{path}: the file is empty; copy it again.')
    return LOADERS[suffix](path)


def write_image(
    path: str | Path, array: np.ndarray, geometry: Geometry
) -> None:
    """Write an image atomically; the suffix picks the format.

    Compressed if the format supports it; a ``.mhd`` is written with a
    ``.zraw``.
    """
    import SimpleITK as sitk

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.mhd':
        write_mhd(path, array, geometry)
        return
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([float(v) for v in geometry.spacing_xyz])
    image.SetOrigin([float(v) for v in geometry.origin])
    image.SetDirection([float(v) for v in geometry.direction.ravel()])
    with atomic_path(path) as aside:
        sitk.WriteImage(image, str(aside), useCompression=True)


def suffix_of(path: str | Path) -> str | None:
    """The suffix in ``LOADERS`` that a file name ends with, the longest."""
    name = Path(path).name.lower()
    fitting = [suffix for suffix in LOADERS if name.endswith(suffix)]
    return max(fitting, key=len, default=None)


def stem(path: str | Path) -> str:
    """File name without the image suffix; the series uid of LUNA16 files.

    Characters that are not printed, such as a line end, are shown by their
    codes: tables with such a uid could not be read again.

    Examples:
        >>> stem('scans/1.2.nii.gz'), stem('a\\nb.mha')
        ('1.2', 'a\\\\nb')
    """
    name = Path(path).name
    return printable(name[: len(name) - len(suffix_of(path) or '')])
