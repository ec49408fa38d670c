from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lungdet.deploy.export import CARD, OnnxExport, export_onnx, read_export
from lungdet.engine.detector import load_detector
from lungdet.engine.release import shipped_release
from lungdet.errors import CheckpointError
from lungdet.io.image import load_volume
from lungdet.io.json_file import with_digest
from lungdet.models.detectors.case_windows import case_windows
from lungdet.phantom import write_luna16_phantoms
from lungdet.prepare import prepare_case
from lungdet.prepare.given_lungs import lungs_of_scan
from tests.oracles import onnx_literal
from tests.schemas import assert_valid


@pytest.fixture(scope='module')
def exported(tmp_path_factory: pytest.TempPathFactory) -> OnnxExport:
    """Export of the detector that comes with lungdet."""
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(name, reason="pip install 'lungdet[onnx]'")
    return export_onnx(tmp_path_factory.mktemp('onnx'))


@pytest.mark.slow
def test_shipped_detector_is_exported_faithfully(exported: OnnxExport) -> None:
    assert {file.name for file in exported.folder.iterdir()} == {
        CARD,
        'backbone_rpn.onnx',
        'rcnn.onnx',
        'mask.onnx',
    }
    assert_valid('onnx', exported.card)
    assert exported.card['model']['name'] == 'lungdet_s'
    assert exported.card['terms']['licences']['weights'] == 'Apache-2.0'
    assert max(exported.differences.values()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize('max_voxels', [12_000_000, 128**3])
def test_somebody_without_lungdet_gets_the_same_detections(
    exported: OnnxExport, max_voxels: int, tmp_path: Path
) -> None:
    write_luna16_phantoms(tmp_path, scans=1, seed=3, size='small')
    (scan,) = tmp_path.glob('subset0/*.mhd')
    volume = load_volume(scan)
    _, arrays = prepare_case(volume, lungs_of_scan(None, volume), spacing_mm=1)
    hu = arrays['image']
    net: Any = load_detector(shipped_release()).model
    net.test_cfg['max_voxels'] = max_voxels
    net.test_cfg['bf16'] = False
    card = deepcopy(exported.card)
    assert card['input']['max_voxels'] == 12_000_000
    card['input']['max_voxels'] = max_voxels

    marks = onnx_literal.detect(exported.folder, card, hu)

    expected = net.predict_case(torch.from_numpy(hu.copy())[None])
    assert (expected.windows[1] > 1) == (max_voxels < hu.size)
    assert len(marks) == len(expected) > 3
    for mark, box, score, mask in zip(
        marks,
        expected.bboxes.numpy(),
        expected.scores.tolist(),
        expected.masks,
    ):
        assert mark.score == pytest.approx(score, abs=1e-4)
        np.testing.assert_allclose(mark.box, box, atol=0.01)
        assert (mark.mask is None) == (mask is None)
        if mask is not None and mark.mask is not None:
            assert (mark.mask != mask).mean() < 1e-3


@pytest.mark.parametrize(
    ('window', 'max_voxels'),
    [
        ((96, 96, 96), None),
        (None, None),
        (None, 12_000_000),
        (None, 64**3),
    ],
)
@pytest.mark.parametrize('shape', [(287, 216, 281), (24, 170, 130)])
def test_windows_by_the_card_are_those_of_lungdet(
    window: tuple[int, ...] | None,
    max_voxels: int | None,
    shape: tuple[int, ...],
) -> None:
    rule = {
        'window': window,
        'max_voxels': max_voxels,
        'overlap': 32,
        'side_multiple': 16,
    }

    literal = onnx_literal.windows(rule, shape)

    expected = case_windows(shape, window, 32, max_voxels)
    assert [
        tuple(tuple(part.tolist()) for part in (w.size, w.start, *w[2:]))
        for w in literal
    ] == [tuple(map(tuple, w)) for w in expected]


@pytest.mark.slow
def test_exported_again_over_an_old_one(
    exported: OnnxExport, trained: Path
) -> None:
    before = {f.name: f.read_bytes() for f in exported.folder.iterdir()}

    again = export_onnx(exported.folder, trained)

    assert again.card['model']['weights'].endswith('.pth')
    assert again.card['terms'] is None
    assert read_export(exported.folder) == again.card
    for name, content in before.items():
        (exported.folder / name).write_bytes(content)
    assert read_export(exported.folder) == exported.card


def folder_with(tmp_path: Path, **changes: Any) -> Path:
    """A folder that read_export accepts; its graph is a text file."""
    graph = tmp_path / 'rcnn.onnx'
    graph.write_text('a graph')
    digest = '26fae1bc0ae3dd5a8fb5a58b6f9bfe0d6fbd5a9b1f66d4b7f9ea8b6e0a4a0dbb'
    card = {
        'schema': 'lungdet.onnx/1',
        'graphs': {'rcnn': {'file': graph.name, 'sha256': digest}},
        **changes,
    }
    (tmp_path / CARD).write_text(json.dumps(with_digest(card)))
    return tmp_path


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({}, 'rcnn.onnx: is not the graph that detector.json describes'),
        ({'schema': 'lungdet.onnx/0'}, 'of another version'),
        ({'graphs': {'rcnn': {}}}, "lacks 'file'"),
        ({'graphs': [1]}, 'of another kind'),
    ],
)
def test_what_was_changed_is_told(
    changes: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_export(folder_with(tmp_path, **changes))

    assert 'Export the detector again' in str(caught.value)


def test_an_edited_card_and_a_missing_one(tmp_path: Path) -> None:
    card = folder_with(tmp_path) / CARD
    card.write_text(card.read_text().replace('{"schema"', '{"x": 1, "schema"'))

    with pytest.raises(CheckpointError, match='changed after the export'):
        read_export(tmp_path)
    card.unlink()
    with pytest.raises(CheckpointError, match='detector.json'):
        read_export(tmp_path)
