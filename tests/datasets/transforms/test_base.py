"""Every registered transform draws first and then only follows its draw."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lungdet.datasets import CropGrid, Sample, Transform
from lungdet.datasets.transforms import FixedTransform
from lungdet.hounsfield import LUNG_WINDOW
from lungdet.io.case_store import CaseStore
from lungdet.registry import TRANSFORMS
from tests.datasets.stores import BALLS_GRID

SHAPE = (16, 32, 48)
SEEDS = range(12)  # so many that rare branches of a draw are met too
# what a transform is built with, where its defaults do not do
ARGUMENTS = {
    'PlaceCrop': {'size': SHAPE},
    'LoadCandidates': {'path': 'candidates.csv'},
    # crops of the small lung field here have much tissue
    'NoduleInsertion': {'source': 'parametric', 'prob': 1.0, 'count': (1, 1)},
    'LoadLungCrop': {'size': SHAPE, 'max_tissue': None, 'tries': 5},
}
# options that take another way than the defaults
VARIANTS = {
    'LoadCase': {'targets': True},
}
RANDOM = sorted(
    name
    for name, transform in TRANSFORMS.module_dict.items()
    if not issubclass(transform, FixedTransform)
)
PLAIN = (int, float, str, list, tuple, dict)


@pytest.fixture(scope='module')
def samples(balls: Path, airy: Path) -> dict[str, Sample]:
    """A sample with all that some transform reads, by transform."""
    store = CaseStore(airy)
    record = store.records['3.1']
    roomy = {
        **common_sample(balls),
        'store': store,
        'record': record,
        'geometry': record.geometry,
        'image': store.read('3.1', 'image'),
        'mask': np.zeros(record.geometry.shape, dtype=np.uint8),
        'gt_nodules': [],
        'gt_boxes': np.zeros((0, 6)),
    }
    return {'NoduleInsertion': roomy, 'others': common_sample(balls)}


@pytest.fixture
def sample(
    samples: dict[str, Sample], request: pytest.FixtureRequest
) -> Sample:
    """The sample for the transform that a test is about."""
    call = getattr(request.node, 'callspec', None)
    name = call.params.get('name') if call is not None else None
    return samples.get(str(name), samples['others'])


def common_sample(balls: Path) -> Sample:
    store = CaseStore(balls)
    record = store.records['1.1']
    geometry = BALLS_GRID.crop((22, 24, 21), SHAPE)
    image = np.random.default_rng(1).random(SHAPE, dtype=np.float32)
    return {
        'store': store,
        'record': record,
        'kind': 'nodule',
        'nodule': record.nodules[0],
        'window': LUNG_WINDOW,
        'held_out': frozenset(),
        'sample_key': 'of the test',
        'crop_grid': CropGrid.around_nodule(
            geometry, record, record.nodules[0]
        ),
        'geometry': geometry,
        'image': image,
        'target': image,
        'mask': np.zeros(SHAPE, dtype=np.uint8),
        'masked': np.zeros(SHAPE, dtype=bool),
        'in_lungs': np.zeros(SHAPE, dtype=bool),
        'gt_nodules': record.nodules[:2],
        'gt_boxes': np.array([n.box for n in record.nodules[:2]]),
        'ignored_boxes': np.zeros((0, 6)),
        'candidates': np.zeros((0, 6)),
    }


def bare(value: Any) -> Any:
    """A value in plain types and bytes, so that == compares every bit."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if hasattr(value, 'all_items'):  # data elements
        return {key: bare(item) for key, item in value.all_items()}
    if dataclasses.is_dataclass(value):
        return {key: bare(item) for key, item in vars(value).items()}
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bare(item) for item in value]
    return None if isinstance(value, CaseStore) else value


def without_options(transform: Transform) -> Transform:
    """The transform as if it had been built with nothing."""
    bare_one = copy.copy(transform)
    for name, value in vars(transform).items():
        if value is None or isinstance(value, PLAIN):
            delattr(bare_one, name)
    return bare_one


def test_bare_values_tell_bits_apart(sample: Sample) -> None:
    other = {**sample, 'geometry': BALLS_GRID.crop((22, 24, 21.0001), SHAPE)}

    assert bare(copy.deepcopy(sample)) == bare(sample) != bare(other)
    assert bare(np.zeros(2)) != bare(-np.zeros(2))


@pytest.mark.parametrize(
    ('name', 'options'),
    [(name, {}) for name in sorted(TRANSFORMS.module_dict)]
    + list(VARIANTS.items()),
    ids=str,
)
def test_stored_params_replay_the_sample(
    name: str,
    options: dict,
    sample: Sample,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('candidates.csv').write_text(
        'seriesuid,coordX,coordY,coordZ\n1.1,10.0,20.0,30.0\n'
    )
    transform = TRANSFORMS.build(
        {'type': name, **ARGUMENTS.get(name, {}), **options}
    )
    assert isinstance(transform, Transform)
    before = bare(sample)

    for seed in SEEDS:
        params = transform.draw(np.random.default_rng(seed), sample)
        result = bare(transform.apply(sample, params))

        assert bare(sample) == before, 'the sample that came in was changed'
        with pytest.raises(dataclasses.FrozenInstanceError):
            params.anything = 1
        stored = pickle.loads(pickle.dumps(params))
        assert stored == params
        np.random.seed(seed)  # noqa: NPY002  (it must not matter)
        assert bare(transform.apply(sample, stored)) == result
        values = json.loads(json.dumps(dataclasses.asdict(params)))
        assert bare(transform.apply(sample, type(params)(**values))) == result
        again = {**sample, 'rng': np.random.default_rng(seed)}
        after = dict(transform(again))
        after.pop('rng', None)
        assert bare(after) == result


@pytest.mark.parametrize('name', RANDOM)
def test_params_alone_decide(name: str, sample: Sample) -> None:
    transform = TRANSFORMS.build({'type': name, **ARGUMENTS.get(name, {})})
    other = without_options(transform)

    for seed in SEEDS:
        params = transform.draw(np.random.default_rng(seed), sample)
        result = bare(transform.apply(sample, params))
        assert bare(other.apply(sample, params)) == result


@pytest.mark.parametrize('name', RANDOM)
def test_other_draws_make_other_samples(name: str, sample: Sample) -> None:
    transform = TRANSFORMS.build({'type': name, **ARGUMENTS.get(name, {})})

    results = []
    for seed in SEEDS:
        params = transform.draw(np.random.default_rng(seed), sample)
        results.append(bare(transform.apply(sample, params)))

    assert any(result != results[0] for result in results[1:])


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('LocalPixelShuffle', {'prob': 1.0}),
        ('TilePixelShuffle', {'prob': 1.0}),
        ('NonLinearIntensity', {'prob': 1.0}),
        ('InPainting', {}),
        ('OutPainting', {}),
        ('Painting', {'prob': 1.0}),
    ],
    ids=str,
)
def test_distortions_keep_the_target_and_the_range(
    name: str, options: dict, sample: Sample
) -> None:
    transform = TRANSFORMS.build({'type': name, **options})
    rng = np.random.default_rng(1)

    out = transform.apply(sample, transform.draw(rng, sample))

    assert out['target'] is sample['target']
    assert (out['image'] != sample['image']).any()
    assert out['image'].dtype == np.float32
    assert 0 <= out['image'].min() and out['image'].max() <= 1
