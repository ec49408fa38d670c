"""A phantom as a DICOM series with all attributes that a PACS expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from lungdet.io.image import load_volume
from lungdet.phantom import write_luna16_phantoms
from tests.dicom_series import labelled, write_slice

STUDY, SERIES = (generate_uid(entropy_srcs=[w]) for w in ('study', 'series'))
FRAME = generate_uid(entropy_srcs=['frame of reference'])
PATIENT = {
    'PatientID': 'PHANTOM-1',
    'PatientName': 'Phantom^Chest',
    'PatientBirthDate': '',
    'PatientSex': '',
    'PatientPosition': 'HFS',
    'StudyID': '1',
    'StudyDate': '20260102',
    'StudyTime': '030405',
    'StudyDescription': 'synthetic chest',
    'SeriesDescription': 'phantom 1.25 mm',
    'SeriesNumber': 2,
    'AccessionNumber': '',
    'ReferringPhysicianName': '',
    'Manufacturer': 'lungdet phantom',
    'StudyInstanceUID': STUDY,
    'FrameOfReferenceUID': FRAME,
    'PositionReferenceIndicator': '',
    'KVP': 120,
    'AcquisitionNumber': 1,
    'WindowCenter': -600,
    'WindowWidth': 1500,
}


def write_phantom_series(
    folder: Path, scratch: Path, *, seed: int = 0, size: str = 'small'
) -> None:
    """Write a phantom as DICOM slices.

    Args:
        folder: Folder for the slices; created.
        scratch: Folder for the phantom's MetaImage.
        seed: Seed of the phantom.
        size: ``small`` or ``full``.
    """
    write_luna16_phantoms(scratch, scans=1, seed=seed, size=size)
    (path,) = scratch.glob('subset*/*.mhd')
    volume = load_volume(path)
    grid = volume.geometry
    dz, *pixel = grid.spacing.tolist()
    folder.mkdir()
    for k, plane in enumerate(volume.array):
        corner = grid.to_world(np.array([[k, 0, 0]]))[0].tolist()
        tags = {
            **PATIENT,
            'ImagePositionPatient': [round(v, 3) for v in corner],
            'PixelSpacing': pixel,
            'SliceThickness': dz,
            'InstanceNumber': k + 1,
        }
        write_slice(
            folder,
            k,
            plane.clip(-1024),  # stored unsigned
            series=SERIES,
            edit=labelled(**tags),
        )
