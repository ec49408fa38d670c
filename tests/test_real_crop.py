"""A real crop that travels with the tests: reader to case and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungdet.io.case_store import CaseStore
from lungdet.io.image import load_volume, read_image
from lungdet.prepare import prepare_folder

CROP = Path(__file__).parent / 'data' / 'real_crop'
NAME = 'lidc_idri_0181'
# LUNA16's annotations.csv, mm; label in the mask -> centre, diameter
NODULES = {
    2: ((88.04700244, 82.06805138, -235.1776874), 9.514315903),
    3: ((76.8032595, 80.64710662, -206.0164263), 8.220380612),
}


def test_nodules_of_the_case_are_those_of_luna16(tmp_path: Path) -> None:
    """Through reader, lungs, resampling to 1 mm and store."""
    summary = prepare_folder(
        CROP / 'scans',
        tmp_path,
        annotations=CROP / 'masks',
        progress=False,
    )

    assert not summary.failed
    store = CaseStore(tmp_path)
    record = store.records[NAME]
    image, mask = (store.read(NAME, kind) for kind in ('image', 'mask'))
    assert len(record.nodules) == 2
    for nodule in record.nodules:
        center, diameter = min(
            NODULES.values(),
            key=lambda known: np.linalg.norm(
                np.subtract(known[0], nodule.center_mm)
            ),
        )
        off = np.linalg.norm(np.subtract(center, nodule.center_mm))
        assert off < 0.45  # as the scan's own consensus
        inside = mask == nodule.id
        volume = inside.sum() * record.spacing_mm**3
        # the consensus is 0.2 to 0.5 mm wider than the readers' mean
        assert 0 < np.cbrt(6 * volume / np.pi) - diameter < 0.7
        around = image[tuple(np.argwhere(inside).min(axis=0) - 3)]
        assert np.median(image[inside]) > around + 300  # tissue in air


def test_the_crop_is_the_scan_there(test_data: Path) -> None:
    """World points mean the same in the crop and in the scan it is of."""
    mini = test_data / 'luna16-mini'
    (scan,) = (mini / 'subset1').glob('*.mhd')

    whole, crop = (
        load_volume(scan),
        load_volume(CROP / 'scans/lidc_idri_0181.mha'),
    )

    corner = crop.geometry.to_world(np.zeros((1, 3)))
    at = whole.geometry.to_index(corner)[0]
    np.testing.assert_allclose(at, [67, 326, 335], atol=1e-6)
    start = np.round(at).astype(int)
    region = tuple(slice(a, a + n) for a, n in zip(start, crop.array.shape))
    np.testing.assert_array_equal(whole.array[region], crop.array)


def test_masks_lie_on_luna16_s_centres() -> None:
    image = read_image(CROP / 'masks' / 'lidc_idri_0181.mha')

    for label, (center, _) in NODULES.items():
        inside = np.argwhere(image.array == label).mean(axis=0)
        middle = image.geometry.to_world(inside[None])[0]
        assert np.linalg.norm(middle - center) < 0.45
