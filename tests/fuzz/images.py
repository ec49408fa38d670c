"""Intact scans and lung outlines for the fuzzer, and how they are read."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import nibabel
import numpy as np

from lungdet.io.image import load_volume
from lungdet.io.lidc import read_lidc_xml
from tests.dicom_series import write_series
from tests.fuzz.target import Reading, fingerprint
from tests.io.images import SHAPE, write_meta, write_nrrd

NIFTI_HEADER = 352  # bytes before the voxels
SLICE = '090.dcm'  # the DICOM file that is damaged
NUMBER = re.compile(r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')
XML = """<?xml version="1.0" encoding="UTF-8"?>
<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>
<SeriesInstanceUid>1.2.3</SeriesInstanceUid>
<StudyInstanceUID>1.2</StudyInstanceUID></ResponseHeader>
<readingSession><unblindedReadNodule><noduleID>7</noduleID>
<roi><imageZposition>-12.5</imageZposition><inclusion>TRUE</inclusion>
<edgeMap><xCoord>3</xCoord><yCoord>4</yCoord></edgeMap>
<edgeMap><xCoord>5</xCoord><yCoord>6</yCoord></edgeMap>
<edgeMap><xCoord>3</xCoord><yCoord>7</yCoord></edgeMap>
</roi></unblindedReadNodule><nonNodule/></readingSession></LidcReadMessage>"""


def values() -> np.ndarray:
    """HU of a scan in which no pattern of voxels repeats."""
    rng = np.random.default_rng(5)
    return rng.integers(-1000, 400, SHAPE).astype(np.int16)


def scan(path: Path) -> Reading:
    """What is read of an image file or of a DICOM folder."""
    volume = load_volume(path)
    return (
        fingerprint(
            volume.array, volume.geometry.affine.round(4), volume.series_uid
        ),
        volume.caveats,
    )


def series(path: Path) -> Reading:
    return scan(path.parent)


def nifti(folder: Path) -> Path:
    image = nibabel.Nifti1Image(values().T, None)
    affine = np.diag([-3.5, -4.0, 5.0, 1.0])
    affine[:3, 3] = 10, -20, -30
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    nibabel.save(image, folder / 'x.nii')
    return folder / 'x.nii'


def nifti_gz(folder: Path) -> Path:
    plain = nifti(folder)
    path = folder / 'x.nii.gz'
    path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    return path


def nifti2(folder: Path) -> Path:
    image = nibabel.Nifti2Image(values().T, np.diag([-3.5, -4.0, 5.0, 1.0]))
    nibabel.save(image, folder / 'x.nii')
    return folder / 'x.nii'


def as_nibabel(path: Path) -> bool:
    """Whether nibabel reads the same values at the same positions."""
    volume, other = load_volume(path), nibabel.load(path)
    grid = volume.source_geometry or volume.geometry
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ other.affine
    stored = np.clip(np.rint(np.asarray(other.dataobj)), -32768, 32767)
    return bool(
        grid.size_xyz == stored.shape[:3]
        and np.allclose(affine[:3, 2::-1], grid.affine[:3, :3], atol=2e-2)
        and np.allclose(affine[:3, 3], grid.origin, atol=1e-2)
        and np.sort(stored.ravel()).astype(np.int16).tobytes()
        == np.sort(volume.array.ravel()).tobytes()
    )


def mhd(folder: Path) -> Path:
    payload = zlib.compress(values().tobytes())
    return write_meta(folder, payload, CompressedData='True')


def zraw(folder: Path) -> Path:
    return mhd(folder).with_suffix('.raw')


def scan_of_zraw(path: Path) -> Reading:
    return scan(path.with_suffix('.mhd'))


def as_stated(path: Path) -> bool:
    """Whether a text header's numbers say what is read."""
    head = path.read_bytes()[:2000].decode('utf-8', 'replace')
    volume = load_volume(path)
    geometry = volume.source_geometry or volume.geometry
    numbers = map(float, NUMBER.findall(head))
    read = [*geometry.spacing, *np.abs(geometry.origin)]
    stated = {abs(number) for number in numbers} | {0.0}
    return all(min(abs(v - n) for n in stated) < 1e-3 for v in read)


def nrrd(folder: Path) -> Path:
    return write_nrrd(folder, values().tobytes())


def nrrd_gz(folder: Path) -> Path:
    payload = gzip.compress(values().tobytes(), mtime=0)
    return write_nrrd(folder, payload, encoding='gzip')


def nrrd_head(content: bytes) -> tuple[int, int]:
    return 0, content.index(b'\n\n')


def nrrd_voxels(content: bytes) -> tuple[int, int]:
    return content.index(b'\n\n') + 2, len(content)


def nifti_head(content: bytes) -> tuple[int, int]:
    return 0, NIFTI_HEADER


def dicom(folder: Path) -> Path:
    rng = np.random.default_rng(6)
    base = rng.integers(-1000, 0, (1, 16, 24))
    planes = base + 10 * np.arange(26)[:, None, None]
    write_series(folder, planes.astype(np.int16), series='1.2.3')
    return folder / SLICE


def dicom_head(content: bytes) -> tuple[int, int]:
    return 0, content.index(b'\xe0\x7f\x10\x00')


def xml(folder: Path) -> Path:
    path = folder / 'x.xml'
    path.write_text(XML)
    return path


def outlines(path: Path) -> Reading:
    reading = read_lidc_xml(path)
    if reading is None:
        return 'x-ray', ()
    contours = [
        (c.z_mm, c.inclusion, c.points.tolist())
        for outline in reading.outlines
        for c in outline.contours
    ]
    return fingerprint(reading.series_uid, reading.study_uid, contours), ()
