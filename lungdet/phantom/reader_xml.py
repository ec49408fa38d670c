"""A phantom's nodules as the readers' outlines, in LIDC's XML."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungdet.geometry import Geometry
from lungdet.phantom.nodules import Nodule
from lungdet.phantom.phantom import READERS, Phantom

TEXTURE_GRADES = {'solid': 5, 'part solid': 3, 'ground glass': 1}


def reader_xml(phantom: Phantom) -> str:
    """Four readers' equal outlines of every nodule, in LIDC's XML."""
    geometry = phantom.volume.geometry
    nodules = [
        (number, _grades(nodule) + _regions(phantom.masks == number, geometry))
        for number, nodule in enumerate(phantom.nodules, start=1)
    ]
    sessions = ''.join(
        _session(reader, nodules) for reader in range(1, READERS + 1)
    )
    uid = phantom.volume.series_uid
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>'
        f'<SeriesInstanceUid>{uid}</SeriesInstanceUid></ResponseHeader>\n'
        f'{sessions}</LidcReadMessage>\n'
    )


def _session(reader: int, nodules: list[tuple[int, str]]) -> str:
    marks = ''.join(
        f'<unblindedReadNodule><noduleID>R{reader}N{number}</noduleID>'
        f'{content}</unblindedReadNodule>'
        for number, content in nodules
    )
    return (
        '<readingSession><servicingRadiologistID>'
        f'{reader}</servicingRadiologistID>{marks}</readingSession>\n'
    )


def _grades(nodule: Nodule) -> str:
    grades = {
        'subtlety': nodule.subtlety,
        'spiculation': 4 if nodule.spiculated else 1,
        'lobulation': 4 if nodule.lobulated else 1,
        'texture': TEXTURE_GRADES[nodule.texture],
    }
    elements = ''.join(f'<{k}>{v}</{k}>' for k, v in grades.items())
    return f'<characteristics>{elements}</characteristics>'


def _regions(mask: np.ndarray, geometry: Geometry) -> str:
    """One region for each part in each slice."""
    regions = []
    for k in np.flatnonzero(mask.any((1, 2))):
        z = geometry.to_world(np.array([[k, 0, 0]]))[0, 2]
        parts, num = ndimage.label(mask[k])
        for part in range(1, num + 1):
            points = ''.join(
                f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>'
                for y, x in _outline(parts == part)
            )
            regions.append(
                f'<roi><imageZposition>{z:.4f}</imageZposition>'
                f'<inclusion>TRUE</inclusion>{points}</roi>'
            )
    return ''.join(regions)


def _outline(part: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) y, x just outside a region, in order of their angle."""
    block = ndimage.binary_dilation(part, np.ones((3, 3)))
    ring = np.argwhere(block & ~ndimage.binary_fill_holes(part))
    offset = ring - np.argwhere(part).mean(0)
    order = np.argsort(np.arctan2(offset[:, 0], offset[:, 1]))
    return np.concatenate([ring[order], ring[order[:1]]])
