from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.deploy.description import describe
from lungdet.deploy.graph_specs import graph_specs
from lungdet.engine.detector import LoadedDetector
from lungdet.engine.input_contract import InputContract
from lungdet.errors import ConfigError
from lungdet.io.digests import sha256_of
from lungdet.io.json_file import with_digest
from lungdet.models import AnchorGenerator3D, NoduleNet
from lungdet.structures import ModelInfo
from tests.models.nets import narrow_net
from tests.schemas import assert_valid

INFO = ModelInfo(
    'small', '0.1', 'small.pth', 'a' * 64, 'b' * 64, (-1200, 600), 1.0
)


def described(net: NoduleNet, folder: Path) -> dict:
    contract = InputContract((-1200, 600), (-1, 1), 1.0)
    specs = graph_specs(net.eval())
    files = {name: folder / f'{name}.onnx' for name in specs}
    for name, file in files.items():
        file.write_text(name)
    return describe(LoadedDetector(net, contract, INFO), specs, files, None)


def test_file_follows_its_schema_and_has_every_digest(tmp_path: Path) -> None:
    net = narrow_net(box_border=8)

    card = described(net, tmp_path)

    assert_valid('onnx', with_digest(card))
    assert {
        graph['file']: graph['sha256'] for graph in card['graphs'].values()
    } == {file.name: sha256_of(file) for file in tmp_path.iterdir()}
    assert card['input']['window'] == [32, 32, 32]
    assert card['input']['max_voxels'] is None
    assert card['rpn']['anchor_sizes'] == [5, 10, 20, 30, 50]
    assert card['rpn']['nms_pre'] == 2000
    assert card['rcnn']['pooling']['type'] == 'RoICrop3D'
    assert card['mask']['score_thr'] == 0.0
    assert card['postprocess']['box_border'] == 8
    assert card['postprocess']['views'] == 1


def test_windows_that_fit_the_case_have_no_size(tmp_path: Path) -> None:
    net = narrow_net()
    net.test_cfg['max_voxels'] = 12_000_000

    card = described(net, tmp_path)

    assert_valid('onnx', with_digest(card))
    assert card['input']['window'] is None
    assert card['input']['max_voxels'] == 12_000_000


def test_heads_that_have_not_started_are_null(tmp_path: Path) -> None:
    net = narrow_net()
    net.set_epoch(1)

    card = described(net, tmp_path)

    assert_valid('onnx', with_digest(card))
    assert [*card['graphs']] == ['backbone_rpn']
    assert card['rcnn'] is None and card['mask'] is None


class OwnAnchors(AnchorGenerator3D):
    """An anchor generator of a user's own."""


def test_classes_that_cannot_be_described_are_refused(tmp_path: Path) -> None:
    net = narrow_net()
    net.rpn_head.prior_generator = OwnAnchors()

    with pytest.raises(ConfigError, match='^OwnAnchors: detector.json cannot'):
        described(net, tmp_path)
