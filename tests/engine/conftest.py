"""A store of two tiny cases and a config that trains on it in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from lungdet.apis import train
from lungdet.geometry import Geometry
from lungdet.io.case_store import rebuild_index, write_case
from lungdet.structures import CaseNodule, CaseRecord


@pytest.fixture(autouse=True)
def fresh_mmengine() -> Iterator[None]:
    """mmengine keeps its singletons, and their log files, for ever."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for kind in (MessageHub, MMLogger, Visualizer, DefaultScope):
        kind._instance_dict.clear()


@pytest.fixture
def tiny_store(tmp_path: Path) -> Path:
    return write_tiny_store(tmp_path / 'cases')


def write_tiny_store(root: Path) -> Path:
    grid = Geometry.from_parts(
        (40, 44, 48), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
    )
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.normal(-850, 20, grid.shape).astype(np.int16)
        mask = np.zeros(grid.shape, dtype=np.uint8)
        nodules = []
        for k, z in enumerate((12, 26), start=1):
            y, x = (int(v) for v in rng.integers(10, 30, 2))
            image[z : z + 8, y : y + 8, x : x + 8] = 50
            mask[z : z + 8, y : y + 8, x : x + 8] = k
            box = (z, y, x, z + 8, y + 8, x + 8)
            center = grid.box_center_world(np.array([box]))[0]
            nodules.append(
                CaseNodule(
                    k,
                    tuple(center.tolist()),
                    8.0,
                    tuple(float(v) for v in box),
                    4,
                    True,
                    box,
                )
            )
        record = CaseRecord(
            f'1.{number}',
            9 if number > 2 else 0,
            grid,
            grid,
            1.0,
            nodules,
            [],
            'computed',
        )
        write_case(
            root,
            record,
            {
                'image': image,
                'mask': mask,
                'lungs': np.ones(grid.shape, np.uint8),
            },
        )
    rebuild_index(root)
    return root


TINY = """
_base_ = ['{configs}/nodulenet_demo.py']
data_root = '{data}'
model = dict(
    channels_last=False,
    backbone=dict(stem_channels=4, channels=(4, 8, 8, 8, 8, 8),
                  blocks=(1, 1, 1, 1, 1, 1)),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(
        bbox_head=dict(in_channels=8, fc_channels=(16, 8)),
        mask_head=dict(in_channels=8, skip_channels=4, channels=4)),
    train_cfg=dict(rcnn=dict(start_epoch=2), mask=dict(start_epoch=3)),
    test_cfg=dict(window=(32, 32, 32), overlap=16, bf16=False))
train_pipeline = [
    dict(type='PlaceCrop', size=(32, 32, 32), margin=4),
    dict(type='RandomFlip3D'),
    dict(type='LoadCrop'),
    dict(type='RandomHUShiftScale', prob=1.0),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(test_subsets=(9, ), background_ratio=0.5))
test_dataloader = dict(dataset=dict(test_subsets=(9, )))
val_dataloader = dict(
    _delete_=True,
    batch_size=1, num_workers=0,
    sampler=dict(type='ExactSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(type='LUNA16Dataset', data_root='{data}', split='val',
                 test_subsets=(), val_subsets=(9, )))
val_cfg = dict(_delete_=True, type='ValLoop')
val_evaluator = dict(_delete_=True, type='FROCMetric', bootstrap=0)
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
    dict(type='MultiStepLR', milestones=[2], gamma=0.5),
]
default_hooks = dict(
    checkpoint=dict(interval=1, iter_interval=3, save_best='froc/cpm'),
    logger=dict(interval=1))
"""


@pytest.fixture
def tiny_config(tiny_store: Path, tmp_path: Path) -> Path:
    configs = Path(__file__).parents[2] / 'configs'
    path = tmp_path / 'tiny.py'
    path.write_text(TINY.format(configs=configs, data=tiny_store))
    return path


@pytest.fixture
def trained(tiny_config: Path, tmp_path: Path) -> Path:
    train(
        tiny_config,
        work_dir=tmp_path / 'work',
        cfg_options={
            'train_cfg.max_epochs': 1,
            'val_dataloader': None,
            'val_cfg': None,
            'val_evaluator': None,
            'default_hooks.checkpoint.save_best': None,
        },
    )
    return tmp_path / 'work'


TINY_GENESIS = """
_base_ = ['{configs}/genesis_featurenet.py']
data_root = '{data}'
model = dict(
    backbone=dict(stem_channels=4, channels=(4, 8, 8, 8, 8, 8),
                  blocks=(1, 1, 1, 1, 1, 1)),
    head=dict(in_channels=8, channels=(8, 4)))
pipeline = [
    dict(type='LoadLungCrop', size=(32, 32, 32)),
    dict(type='RepeatedFlip3D'),
    dict(type='LocalPixelShuffle'),
    dict(type='NonLinearIntensity'),
    dict(type='Painting'),
    dict(type='PackPair'),
]
train_dataloader = dict(
    batch_size=2, num_workers=0,
    dataset=dict(crops_per_scan=4, val_subsets=(), val_series=['1.2']))
val_dataloader = dict(
    batch_size=2, num_workers=0,
    dataset=dict(crops_per_scan=2, val_subsets=(), val_series=['1.2']))
train_cfg = dict(max_epochs=3, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
]
default_hooks = dict(
    checkpoint=dict(interval=1, iter_interval=3),
    logger=dict(interval=1))
"""


def write_genesis_config(folder: Path, store: Path) -> Path:
    configs = Path(__file__).parents[2] / 'configs'
    path = folder / 'genesis.py'
    path.write_text(TINY_GENESIS.format(configs=configs, data=store))
    return path


@pytest.fixture
def genesis_config(tiny_store: Path, tmp_path: Path) -> Path:
    return write_genesis_config(tmp_path, tiny_store)


@pytest.fixture(scope='session')
def genesis_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of a pre-training run."""
    folder = tmp_path_factory.mktemp('genesis')
    config = write_genesis_config(folder, write_tiny_store(folder / 'cases'))
    train(config, work_dir=folder / 'run')
    return folder / 'run'


@pytest.fixture
def weights(genesis_run: Path) -> Path:
    return genesis_run / 'backbone.safetensors'
