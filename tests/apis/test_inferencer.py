"""One scan in, its nodules out, on its own grid."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from mmengine.structures import InstanceData
from scipy import ndimage

from lungdet.apis import NoduleInferencer, inferencer
from lungdet.engine.detector import LoadedDetector
from lungdet.engine.input_contract import InputContract
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry, reorient
from lungdet.io.digests import sha256_of
from lungdet.io.image import write_image
from lungdet.io.luna16 import read_annotations
from lungdet.phantom import write_luna16_phantoms
from lungdet.structures import ModelInfo, Volume
from tests.schemas import assert_valid

FLIPPED = np.diag([-1.0, -1.0, 1.0])
INFO = ModelInfo(
    'Threshold',
    '1 epochs',
    'epoch_1.pth',
    'a' * 64,
    'b' * 64,
    (-1200, 600),
    1.0,
)


class Threshold:
    """A detector that marks what is above the middle of lung and block."""

    def test_step(self, batch: dict) -> list[Any]:
        image = batch['inputs'][0][0].numpy()
        labels, number = ndimage.label(image > -395)
        boxes = np.array(
            [
                [s.start for s in region] + [s.stop for s in region]
                for region in ndimage.find_objects(labels)
            ]
        ).reshape(-1, 6)
        scores = 0.9 - 0.2 * np.arange(number)
        instances = InstanceData(
            bboxes=boxes,
            scores=scores,
            rpn_scores=scores + 0.05,
            rcnn_scores=np.full(number, np.nan),
            mask_boxes=boxes,
            masks=[
                labels[region] == k
                for k, region in enumerate(ndimage.find_objects(labels), 1)
            ],
        )
        return [SimpleNamespace(pred_instances=instances)]


@pytest.fixture
def threshold(monkeypatch: pytest.MonkeyPatch) -> NoduleInferencer:
    contract = InputContract((-1200, 600), (-1, 1), 1.0)
    detector = LoadedDetector(Threshold(), contract, INFO)
    monkeypatch.setattr(inferencer, 'load_detector', lambda *_, **__: detector)
    return NoduleInferencer('w/epoch_1.pth', device='cpu')


def chest(direction: Any, *, marks: int = 2) -> tuple[Volume, np.ndarray]:
    """A scan of 2 mm slices, and numbered bright blocks in it."""
    grid = Geometry.from_parts(
        (30, 60, 70),
        spacing_zyx=(2.0, 0.8, 0.8),
        origin_xyz=(-30.0, 12.0, 100.0),
        direction=direction,
    )
    truth = np.zeros(grid.shape, np.uint8)
    for k in range(1, marks + 1):
        z, y, x = 3 + 9 * k, 10 * k, 15 * k
        truth[z : z + 5, y : y + 12, x : x + 14] = k
    array = np.where(truth > 0, 60, -850).astype(np.int16)
    turned, canonical = reorient(array, grid)
    source = None if canonical is grid else grid
    return Volume(turned, canonical, '1.2', ['a doubt'], source), truth


@pytest.mark.parametrize(
    'direction', [np.eye(3), FLIPPED], ids=['straight', 'flipped']
)
def test_files_are_on_the_grid_of_the_scan(
    threshold: NoduleInferencer, tmp_path: Path, direction: Any
) -> None:
    volume, truth = chest(direction)
    grid = volume.source_geometry or volume.geometry

    returned = threshold(volume, out_dir=tmp_path)

    result = json.loads((tmp_path / 'result.json').read_text())
    assert Geometry.from_dict(result['geometry']).is_close(grid)
    assert Geometry.from_dict(result['case_geometry']).is_close(
        returned.geometry
    )
    image = sitk.ReadImage(str(tmp_path / 'masks.nii.gz'))
    assert image.GetSize() == (70, 60, 30)
    np.testing.assert_allclose(image.GetOrigin(), grid.origin, atol=1e-4)
    np.testing.assert_allclose(
        image.GetDirection(), grid.direction.ravel(), atol=1e-6
    )
    masks = sitk.GetArrayFromImage(image)
    order = {
        mark['id']: truth[
            tuple(
                np.rint(
                    grid.to_index(np.array([mark['center_world_xyz']]))[0]
                ).astype(int)
            )
        ]
        for mark in result['detections']
    }
    assert sorted(order.values()) == [1, 2]
    for number, block in order.items():
        a, b = masks == number, truth == block
        # resampling moves a face by half a voxel at most
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85
    assert sorted(np.unique(masks)) == [0, 1, 2]


def test_marks_and_scores_are_the_detectors(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    volume, truth = chest(FLIPPED)
    grid = volume.source_geometry
    centers = [
        grid.to_world(np.array(ndimage.center_of_mass(truth == k))[None])[0]
        for k in (1, 2)
    ]

    threshold(volume, out_dir=tmp_path)

    result = json.loads((tmp_path / 'result.json').read_text())
    assert_valid('result', result)
    assert [f['score'] for f in result['detections']] == [0.9, 0.7]
    assert [f['rpn_score'] for f in result['detections']] == pytest.approx(
        [0.95, 0.75]
    )
    assert [f['rcnn_score'] for f in result['detections']] == [None, None]
    assert [f['id'] for f in result['detections']] == [1, 2]
    assert [f['mask_label'] for f in result['detections']] == [1, 2]
    assert result['files']['nifti'] == ['masks.nii.gz']
    centers = [d['center_world_xyz'] for d in result['detections']]
    index = grid.to_index(np.array(centers))[:, 0]
    numbers = [d['slice_number'] for d in result['detections']]
    assert numbers == [int(k) for k in np.floor(index + 0.5) + 1]
    for mark in result['detections']:
        gaps = np.linalg.norm(
            np.subtract(centers, mark['center_world_xyz']), axis=1
        )
        assert gaps.min() < 1.0  # a voxel of the case
    assert result['caveats'].count('a doubt') == 1
    assert result['model'] == {**asdict(INFO), 'window': [-1200, 600]}
    assert result['run']['device'] == 'cpu'
    assert result['run']['precision'] == 'fp32'
    assert result['run']['memory_format'] is result['run']['windows'] is None
    steps = {'read', 'prepare', 'network', 'write'}
    assert {*result['run']['seconds']} == steps
    with open(tmp_path / 'marks.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['seriesuid'] for row in rows] == ['1.2', '1.2']
    for row, mark in zip(rows, result['detections']):
        np.testing.assert_allclose(
            [float(row[f'coord{axis}']) for axis in 'XYZ'],
            mark['center_world_xyz'],
            atol=1e-5,
        )
        assert float(row['probability']) == pytest.approx(mark['score'])


def test_nothing_of_an_earlier_run_is_left(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    (tmp_path / 'notes.txt').write_text('kept')
    threshold(chest(FLIPPED)[0], out_dir=tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        'notes.txt',
        'result.json',
        'marks.csv',
        'masks.nii.gz',
        'marks.png',
        'report.html',
    }

    threshold(chest(FLIPPED, marks=0)[0], out_dir=tmp_path)

    assert {p.name for p in tmp_path.iterdir()} == {
        'notes.txt',
        'result.json',
        'marks.csv',
        'report.html',
    }


def test_a_file_in_the_place_of_the_folder_stops_before_the_work(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / 'out').write_text('kept')
    monkeypatch.setattr(Threshold, 'test_step', lambda *_: 1 / 0)

    with pytest.raises(NotADirectoryError, match='out: is a file'):
        threshold(chest(FLIPPED)[0], out_dir=tmp_path / 'out')


@pytest.mark.parametrize('name', ['foo', 'meta', 'cuda:99', 'cuda:x'])
def test_devices_that_are_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f'device: {name!r}'):
        NoduleInferencer(tmp_path / 'none.pth', device=name)


def test_checkpoint_alone_finds_and_writes(
    trained: Path, tmp_path: Path
) -> None:
    volume, _ = chest(FLIPPED)

    returned = NoduleInferencer(trained, device='cpu')(
        volume, out_dir=tmp_path / 'out'
    )

    assert torch.is_inference_mode_enabled() is False
    result = json.loads((tmp_path / 'out' / 'result.json').read_text())
    assert_valid('result', result)
    assert result['model']['weights'].endswith('.pth')
    assert result['run']['memory_format'] in ('contiguous', 'channels_last')
    windows = result['run']['windows']
    assert 0 < windows['run'] <= windows['possible']
    digest = sha256_of(trained / result['model']['weights'])
    assert result['model']['weights_sha256'] == digest
    assert len(result['detections']) == len(returned.detections)
    scores = [f.score for f in returned.detections]
    assert scores == sorted(scores, reverse=True)


def test_the_page_in_python_runs_as_printed(
    threshold: NoduleInferencer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).parents[2] / 'docs' / 'infer.md'
    code = page.read_text().split('```python\n')[1].split('```')[0]
    array = chest(np.eye(3))[0].array
    grid = Geometry.from_parts(  # no chest in a file is narrower than 50 mm
        array.shape, spacing_zyx=(2.0, 1.0, 1.0), origin_xyz=(0.0, 0.0, 0.0)
    )
    write_image(tmp_path / 'scan.mhd', array, grid)
    monkeypatch.chdir(tmp_path)

    exec(code, {})  # the fixture stands for the checkpoint

    first, second = capsys.readouterr().out.strip().splitlines()
    assert first.startswith('0.9 ')
    assert second.startswith('0.7 ')


def test_the_weights_may_hold_their_score_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contract = InputContract((-1200, 600), (-1, 1), 1.0)
    model = Threshold()
    detector = LoadedDetector(model, contract, INFO)
    monkeypatch.setattr(inferencer, 'load_detector', lambda *_, **__: detector)
    volume, _ = chest(np.eye(3))

    usual = NoduleInferencer('w.pth', device='cpu')(volume)
    model.test_cfg = {'score_thr': 0.8}
    strict = NoduleInferencer('w.pth', device='cpu')(volume)

    assert [d.score for d in usual.detections] == pytest.approx([0.9, 0.7])
    assert any('0.2 is a default' in text for text in usual.caveats)
    assert [d.score for d in strict.detections] == [0.9]
    assert not any('is a default' in text for text in strict.caveats)


def test_detector_that_comes_with_lungdet_is_the_default() -> None:
    made = NoduleInferencer(device='cpu', precision='fp32')

    assert made.info.name == 'lungdet_s'
    named = NoduleInferencer('lungdet_s', device='cpu', precision='fp32')
    assert named.info == made.info
    assert made.selection.score_thr == made.model.test_cfg['score_thrs']['1']


@pytest.mark.slow
def test_its_best_mark_in_a_phantom_is_a_nodule(tmp_path: Path) -> None:
    write_luna16_phantoms(tmp_path, scans=1, seed=3, size='small')
    (scan,) = tmp_path.glob('subset0/*.mhd')
    rows = read_annotations(tmp_path / 'annotations.csv')[scan.stem]

    result = NoduleInferencer(device='cpu')(scan)

    best = result.detections[0]
    assert any(
        np.linalg.norm(np.subtract(best.center_mm, row.center_mm))
        < row.diameter_mm / 2
        for row in rows
    )
