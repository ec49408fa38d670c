"""Every file under configs/ loads, prints, and builds what it names."""

from __future__ import annotations

import ast
import copy
import warnings
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import OPTIMIZERS, DefaultScope

from lungdet.apis import load_config
from lungdet.datasets import LoadCrop
from lungdet.engine.plain_values import plain
from lungdet.engine.release import read_card, shipped_release
from lungdet.errors import ConfigError
from lungdet.io.case_store import rebuild_index
from lungdet.models import NoduleNet
from lungdet.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    TRANSFORMS,
    build_model,
)
from tests.datasets.stores import write_cubes

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted(CONFIGS.glob('*.py'))
EVERY_FILE = sorted(CONFIGS.rglob('*.py'))
MAX_DEPTH = 3  # a leaf, the leaf that it changes, a file of _base_


@pytest.mark.parametrize('path', FILES, ids=[f.stem for f in FILES])
def test_config_builds(path: Path, tmp_path: Path) -> None:
    config = load_config(path)

    config.dump(tmp_path / 'copy.py')
    assert Config.fromfile(tmp_path / 'copy.py').to_dict() == config.to_dict()
    model = build_model(config.model)
    with DefaultScope.overwrite_default_scope('lungdet'):
        assert OPTIMIZERS.get(config.optim_wrapper.optimizer.type)
        for hook in config.custom_hooks:
            assert HOOKS.get(hook['type']) is not None, hook
    assert sum(p.numel() for p in model.parameters()) > 1000
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config.get(name)
        if loader is None:
            continue
        assert DATASETS.get(loader.dataset.type) is not None
        assert loader.dataset.data_root == config.data_root
        for transform in loader.dataset.pipeline:
            if transform['type'] == 'NoduleInsertion':
                transform['source'] = 'parametric'  # in place of a file
            TRANSFORMS.build(transform)
    for name in ('val_evaluator', 'test_evaluator'):
        if config.get(name) is not None:
            METRICS.build(config[name])


def bases_of(path: Path) -> list[Path]:
    """The files that a config names in ``_base_``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            return [
                path.parent / name for name in ast.literal_eval(node.value)
            ]
    return []


def depth_of(path: Path) -> int:
    return 1 + max((depth_of(base) for base in bases_of(path)), default=0)


@pytest.mark.parametrize('path', FILES, ids=[f.stem for f in FILES])
def test_config_is_at_most_three_files_deep(path: Path) -> None:
    assert depth_of(path) <= MAX_DEPTH


@pytest.mark.parametrize(
    'path',
    [path for path in EVERY_FILE if bases_of(path)],
    ids=lambda path: path.stem,
)
def test_config_leaves_the_values_of_its_bases_unchanged(path: Path) -> None:
    bases = ConfigDict()
    for base in bases_of(path):
        bases.update(ConfigDict(Config.fromfile(base).to_dict()))
    before = copy.deepcopy(bases)

    # as mmengine runs a config: its bases are an object named _base_
    code = path.read_text().replace('_base_ = [', '_names = [', 1)
    exec(compile(code, path, 'exec'), {'_base_': bases})

    assert bases == before


def test_full_configs_have_the_published_size() -> None:
    for name in ('nodulenet_base', 'nodulenet_reference'):
        model = build_model(load_config(CONFIGS / f'{name}.py').model)
        assert sum(p.numel() for p in model.parameters()) == 17_343_082


def test_data_root_reaches_every_dataset() -> None:
    config = load_config(CONFIGS / 'nodulenet_base.py', {'data_root': '/x'})

    assert config.train_dataloader.dataset.data_root == '/x'
    assert config.test_dataloader.dataset.data_root == '/x'


@pytest.mark.parametrize(
    ('name', 'side'),
    [('nodulenet_qam', 128), ('luna16_mini', 64), ('nodulenet_demo', 64)],
)
def test_model_learns_the_crop_size_from_the_pipeline(
    name: str, side: int
) -> None:
    config = load_config(CONFIGS / f'{name}.py')

    assert tuple(config.model.train_cfg.crop_size) == (side,) * 3


def test_crop_size_follows_the_options() -> None:
    size = 'train_dataloader.dataset.pipeline.0.size'

    config = load_config(CONFIGS / 'nodulenet_qam.py', {size: (96, 96, 96)})

    assert tuple(config.model.train_cfg.crop_size) == (96, 96, 96)


def test_recipes_differ_behind_the_rpn_in_what_boxes_hold() -> None:
    """BASE's boxes have the published border, the strong recipe's none."""
    plain, strong = (
        load_config(CONFIGS / f'{name}.py').model
        for name in ('nodulenet_base', 'nodulenet_strong')
    )

    assert (plain.box_border, strong.box_border) == (8, 0)
    assert strong.roi_head.pop('border') == 8
    assert strong.train_cfg.rcnn.pop('assigner').type == 'DistanceAssigner3D'
    assert plain.train_cfg.rcnn.pop('assigner').type == 'MaxIoUAssigner3D'
    plain.test_cfg.postprocess.pop('nms')
    assert strong.test_cfg.postprocess.pop('nms').center_distance == 4
    for key in ('data_preprocessor', 'backbone', 'roi_head', 'test_cfg'):
        assert plain[key] == strong[key], key
    for key in ('rcnn', 'mask'):
        assert plain.train_cfg[key] == strong.train_cfg[key], key


def test_validation_cuts_nodules_as_training_crops_do() -> None:
    config = load_config(CONFIGS / 'nodulenet_base.py')
    default = build_model(config.model)
    (load,) = (
        transform
        for transform in config.train_dataloader.dataset.pipeline
        if transform['type'] == 'LoadCrop'
    )

    load['min_inside'] = 2.0
    handed = load_config(config)

    assert default.test_cfg['min_inside'] == LoadCrop().min_inside
    assert build_model(handed.model).test_cfg['min_inside'] == 2.0


@pytest.mark.parametrize(
    ('name', 'added'), [('nodulenet_qam', 44_032), ('nodulenet_cbam', 24_264)]
)
def test_attention_rows_are_base_with_a_plugin_in_every_block(
    name: str, added: int
) -> None:
    base = load_config(CONFIGS / 'nodulenet_base.py').to_dict()
    config = load_config(CONFIGS / f'{name}.py').to_dict()
    model = build_model(config['model'])
    assert sum(p.numel() for p in model.parameters()) == 17_343_082 + added

    plugins = config['model']['backbone'].pop('plugins')
    # a shared base file leaves its name at the top level
    assert config.pop('plugins', plugins) == plugins

    assert config == base


@pytest.mark.parametrize('path', FILES, ids=[f.stem for f in FILES])
def test_plugins_that_pool_see_windows_of_the_training_size(
    path: Path,
) -> None:
    model = build_model(load_config(path).model)

    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*pools over the whole')
        if isinstance(model, NoduleNet):
            model.case_predictor()


@pytest.mark.parametrize('listed', [False, True])
def test_weights_that_nothing_compares_are_refused(listed: bool) -> None:
    start = {'type': 'Pretrained', 'checkpoint': 'epoch_9.pth'}
    option = {
        '+model.backbone.init_cfg': [start] if listed else start,
    }

    with pytest.raises(ConfigError, match=r'backbone\.init_cfg.*load_from'):
        load_config(CONFIGS / 'nodulenet_base.py', option)


@pytest.mark.parametrize(
    ('name', 'loader'),
    [
        ('genesis_featurenet', 'train_dataloader'),
        ('genesis_featurenet', 'val_dataloader'),
        ('genesis_qam', 'train_dataloader'),
        ('genesis_mini', 'train_dataloader'),
        ('genesis_mini', 'val_dataloader'),
        ('genesis_demo', 'train_dataloader'),
    ],
)
def test_genesis_configs_distort_as_published(name: str, loader: str) -> None:
    """The numbers of Models Genesis' public code."""
    config = load_config(CONFIGS / f'{name}.py')

    pipeline = [TRANSFORMS.build(t) for t in config[loader].dataset.pipeline]

    _, flip, shuffle, intensity, painting, _ = pipeline
    assert [type(step).__name__ for step in pipeline] == [
        'LoadLungCrop',
        'RepeatedFlip3D',
        'LocalPixelShuffle',
        'NonLinearIntensity',
        'Painting',
        'PackPair',
    ]
    assert (flip.prob, flip.max_flips) == (0.4, 3)
    assert (shuffle.prob, shuffle.max_block) == (0.5, (3, 6, 6))
    # 10,000 blocks of mean volume 2 * 3.5 * 3.5 in 32 * 64 * 64 voxels
    assert shuffle.coverage == 1.87
    assert (intensity.prob, intensity.decreasing) == (0.9, 0.5)
    assert (painting.prob, painting.inside) == (0.9, 0.2)
    inside, outside = painting.inpainting, painting.outpainting
    assert (inside.max_boxes, inside.prob_box) == (5, 0.95)
    assert inside.sides == (1 / 6, 1 / 3)
    assert (outside.max_boxes, outside.prob_box) == (5, 0.95)
    assert outside.gaps == (3 / 7, 4 / 7)


def test_pretraining_configs_restore_as_their_headers_say() -> None:
    for path in sorted(CONFIGS.glob('genesis_*.py')):
        model = load_config(path).model
        assert model.type == 'GenesisPretrainer', path
        assert model.loss == {'type': 'L1Loss'}, path
    hidden = load_config(CONFIGS / 'mae_qam.py').model

    assert hidden.type == 'MaskedAutoencoder'
    assert hidden.loss == {'type': 'MSELoss'}
    assert (hidden.block, hidden.mask_ratio, hidden.fill) == (16, 0.75, 'mean')


def test_cbam_config_gates_channels_as_the_original_does() -> None:
    """One sigmoid after the sum of the two answers, as its header says."""
    config = load_config(CONFIGS / 'nodulenet_cbam.py')

    (plugin,) = config.model.backbone.plugins
    assert plugin.cfg == {'type': 'CBAM3D', 'sigmoid': 'after'}


def test_the_small_detector_trains_on_all_but_the_test(
    tmp_path: Path,
) -> None:
    """It validates on nothing, so no fold is kept for that."""
    for uid, subset in (('1.1', 0), ('1.8', 8), ('1.9', 9)):
        write_cubes(tmp_path / 'real', uid, subset)
    write_cubes(tmp_path / 'phantoms', '7.1', 8)
    for name in ('real', 'phantoms'):
        rebuild_index(tmp_path / name)
    config = load_config(
        CONFIGS / 'lungdet_s.py', {'data_root': str(tmp_path / 'real')}
    )
    options = config.train_dataloader.dataset
    (insertion,) = (
        one for one in options.pipeline if one['type'] == 'NoduleInsertion'
    )
    insertion['source'] = 'parametric'
    options.datasets[1].data_root = str(tmp_path / 'phantoms')

    data = DATASETS.build(options)

    assert data.metainfo['series_uids'] == ['1.1', '1.8', '7.1']
    assert data.metainfo['test_series'] == ['1.9']
    assert len(data) == 400
    index = data.kinds.index('0 inserted')
    assert tuple(data[index]['inputs'].shape) == (1, 64, 64, 64)


def test_the_shipped_detector_runs_as_its_config_tests() -> None:
    """What its thresholds are from is what users run."""
    config = load_config(CONFIGS / 'lungdet_s.py')

    card = read_card(shipped_release())

    model = card['checkpoint']['model']
    assert model['test_cfg'] == plain(config.model.test_cfg.to_dict())
    assert model['backbone'] == plain(config.model.backbone.to_dict())
