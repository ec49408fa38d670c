from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lungdet.exporters import ExportInput
from lungdet.exporters.monai import write_monai
from lungdet.geometry import Geometry
from lungdet.io.image import write_image
from lungdet.structures import Detection, SeriesResult
from tests.dicomweb.orthanc import INSTALLS, may_install
from tests.exporters.scene import TURNED, empty_result, make_result

MONAI = 'monai==1.6.1'


def test_boxes_are_centres_and_sizes_in_the_world(tmp_path: Path) -> None:
    write_monai(tmp_path, ExportInput(make_result()))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    assert content['box'] == [
        [6.75, -0.5, 11.0, 1.0, 2.0, 2.0],
        [7.0, 1.0, 15.0, 1.0, 3.0, 4.0],
    ]
    assert content['label'] == [0, 0]
    assert content['label_scores'] == [0.75, 0.25]
    assert content['coordinate_system'] == 'LPS'


def test_boxes_of_an_oblique_case_enclose_its_boxes(tmp_path: Path) -> None:
    result = replace(make_result(), geometry=TURNED)
    write_monai(tmp_path, ExportInput(result))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    for box, detection in zip(content['box'], result.detections, strict=True):
        (edges,) = TURNED.box_around(
            [detection.center_mm], [detection.size_mm]
        )
        corners = TURNED.to_world(
            [
                [edges[0 + 3 * z], edges[1 + 3 * y], edges[2 + 3 * x]]
                for z, y, x in product((0, 1), repeat=3)
            ]
        )
        assert box[:3] == pytest.approx(detection.center_mm)
        assert box[3:] == pytest.approx(np.ptp(corners, axis=0))


def test_a_scan_without_detections_has_empty_lists(tmp_path: Path) -> None:
    write_monai(tmp_path, ExportInput(empty_result()))

    (content,) = json.loads((tmp_path / 'monai.json').read_text())
    assert content['box'] == content['label_scores'] == []


@pytest.mark.slow
@pytest.mark.parametrize('direction', [np.eye(3), np.diag([-1.0, -1.0, 1.0])])
def test_monai_finds_the_nodules_in_its_boxes(
    tmp_path: Path, monai: Path, direction: np.ndarray
) -> None:
    """Read with the transforms and the settings of the bundle."""
    grid = Geometry.from_parts(
        (20, 30, 40),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(12, -40, 7),
        direction=direction,
    )
    array = np.full(grid.shape, -850, np.int16)
    array[4:9, 6:14, 20:30] = 60
    write_image(tmp_path / 'scan.nii.gz', array, grid)
    x, y, z = grid.to_world([[6.0, 9.5, 24.5]])[0]
    nodule = Detection((x, y, z), 0.75, size_mm=(5 * 2.5, 8 * 0.7, 10 * 0.8))
    write_monai(tmp_path, ExportInput(SeriesResult('1.2', [nodule], grid)))

    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', READER, str(tmp_path)],
        env={**os.environ, 'PYTHONPATH': str(monai)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert not done.returncode, done.stderr
    both, only_one, score = json.loads(done.stdout.splitlines()[-1])
    assert (both, only_one) == (400, 0)  # voxels that are bright, and boxed
    assert score == 0.75


# what MONAI makes of the file: boxes in voxels of the image, by its affine
READER = """
import json, sys
from pathlib import Path
import numpy as np
from monai.apps.detection.transforms.dictionary import (
    AffineBoxToImageCoordinated, ConvertBoxToStandardModed)
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

folder = Path(sys.argv[1])
(entry,) = json.loads((folder / 'monai.json').read_text())
entry['box'] = np.array(entry['box'], dtype=np.float32)
entry['image'] = str(folder / 'scan.nii.gz')
read = Compose([
    LoadImaged(keys='image', reader='nibabelreader'),  # its affine is RAS
    EnsureChannelFirstd(keys='image'),
    ConvertBoxToStandardModed(box_keys='box', mode=entry['box_mode']),
    AffineBoxToImageCoordinated(
        box_keys='box', box_ref_image_keys='image', affine_lps_to_ras=True),
])(entry)
((x1, y1, z1, x2, y2, z2),) = np.asarray(read['box'])
bright = np.asarray(read['image'])[0] > 0
x, y, z = np.indices(bright.shape)
boxed = (x1 < x) & (x < x2) & (y1 < y) & (y < y2) & (z1 < z) & (z < z2)
print(json.dumps([int((boxed & bright).sum()), int((boxed ^ bright).sum()),
                  read['label_scores'][0]]))
"""


@pytest.fixture(scope='module')
def monai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MONAI, which needs nothing but torch and numpy here."""
    if not may_install('monai'):
        pytest.skip(f'MONAI is installed only if {INSTALLS} names monai')
    folder = tmp_path_factory.mktemp('monai')
    words = ['install', '-q', '--no-deps', '--target', str(folder), MONAI]
    done = subprocess.run(
        [sys.executable, '-m', 'pip', *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f'pip cannot install it: {done.stderr[-200:]}')
    return folder
