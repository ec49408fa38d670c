"""Intact scans, masks and outlines for the fuzzer, and how they are read."""

from __future__ import annotations

import gzip
import shutil
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np

from lungdet.geometry import Geometry
from lungdet.io.archive import extract_zip
from lungdet.io.digests import sha256_of
from lungdet.io.image import load_volume, write_image
from lungdet.io.lidc import read_lidc_xml
from lungdet.prepare.given_lungs import lungs_of_scan
from lungdet.prepare.label_image import LabelImageReferences
from lungdet.structures import Volume
from tests.dicom_series import write_frames, write_series
from tests.fuzz.target import Reading, fingerprint
from tests.io.images import SHAPE, write_meta, write_nrrd

NIFTI_HEADER = 352  # bytes before the voxels
SLICE = '090.dcm'  # the DICOM file that is damaged
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


def mha(folder: Path) -> Path:
    path = write_meta(
        folder,
        b'',
        CompressedData='True',
        ElementDataFile='LOCAL',
    )
    whole = path.read_bytes() + zlib.compress(values().tobytes())
    path.unlink()
    (folder / 'x.raw').unlink()
    (folder / 'x.mha').write_bytes(whole)
    return folder / 'x.mha'


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


def mhd(folder: Path) -> Path:
    payload = zlib.compress(values().tobytes())
    return write_meta(folder, payload, CompressedData='True')


def zraw(folder: Path) -> Path:
    return mhd(folder).with_suffix('.raw')


def scan_of_zraw(path: Path) -> Reading:
    return scan(path.with_suffix('.mhd'))


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


def frames(folder: Path) -> Path:
    """One multi-frame file in place of the single ones."""
    parts = folder / 'parts'
    parts.mkdir()
    dicom(parts)
    (folder / 'series').mkdir()
    path = write_frames(
        folder / 'series' / 'all.dcm', sorted(parts.glob('*.dcm'))
    )
    shutil.rmtree(parts)
    return path


def zipped(folder: Path) -> Path:
    """An archive of a scan and a note."""
    scan_file = mha(folder)
    with zipfile.ZipFile(folder / 'x.zip', 'w', zipfile.ZIP_DEFLATED) as new:
        new.write(scan_file, 'scan/x.mha')
        new.writestr('scan/note.txt', 'intact\n' * 20)
    scan_file.unlink()
    return folder / 'x.zip'


def unpacked(path: Path) -> Reading:
    out = path.parent / 'out'
    out.mkdir()
    extract_zip(path, out)
    files = [p for p in sorted(out.rglob('*')) if p.is_file()]
    names = [str(p.relative_to(out)) for p in files]
    return fingerprint(names, [sha256_of(p) for p in files]), ()


GRID = Geometry.from_parts(
    SHAPE, spacing_zyx=(5, 4, 3.5), origin_xyz=(-10, 20, -30)
)


def masked() -> Volume:
    """The scan that the masks are of."""
    return Volume(values(), GRID, 'x')


def nodule_mask(folder: Path) -> Path:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:8, 4:9] = 1
    labels[9:12, 10:14, 2:6] = 2
    write_image(folder / 'x.nii', labels, GRID)
    return folder / 'x.nii'


def read_nodule_mask(path: Path) -> Reading:
    references = LabelImageReferences(path).read(masked())
    nodules = [
        (n.annotation, n.box, None if n.mask is None else n.mask.voxels.sum())
        for n in references.nodules
    ]
    return fingerprint(nodules), references.caveats


def nodules_as_nibabel(path: Path) -> bool:
    """Whether the nodules have as many voxels as the image has labels."""
    nodules = LabelImageReferences(path).read(masked()).nodules
    sizes = [int(n.mask.voxels.sum()) for n in nodules if n.mask is not None]
    labels = np.asarray(nibabel.load(path).dataobj)
    _, counts = np.unique(labels[labels > 0], return_counts=True)
    return sum(sizes) == counts.sum() and len(sizes) >= len(counts)


def lung_mask(folder: Path) -> Path:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:14, 3:14, 2:7] = 3
    labels[2:14, 3:14, 10:15] = 4
    write_image(folder / 'x.nii', labels, GRID)
    return folder / 'x.nii'


def read_lung_mask(path: Path) -> Reading:
    lungs = lungs_of_scan(path, masked())
    numbers = lungs.mask if lungs.numbers is None else lungs.numbers
    return fingerprint(numbers, lungs.source), lungs.caveats


def lungs_as_nibabel(path: Path) -> bool:
    """Whether the lungs have the voxels that the image labels 3 and 4."""
    lungs = lungs_of_scan(path, masked())
    labels = np.asarray(nibabel.load(path).dataobj)
    return bool(lungs.mask.sum() == np.isin(labels, (3, 4)).sum())


def after_nifti_head(content: bytes) -> tuple[int, int]:
    return NIFTI_HEADER, len(content)


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
