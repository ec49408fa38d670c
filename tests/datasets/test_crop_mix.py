from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets.crop_mix import nodule_weights
from lungdet.engine import Key
from lungdet.errors import ConfigError
from tests.datasets.stores import training_crops


def literal_weights(diameters: list[float], weighting: float) -> list[float]:
    """Draw a size, then one of its nodules; or any nodule."""
    edges = [2 ** (k / 2) for k in range(14)]
    size = [sum(d >= edge for edge in edges) for d in diameters]
    sizes = sorted(set(size))
    return [
        weighting / len(sizes) / size.count(of)
        + (1 - weighting) / len(diameters)
        for of in size
    ]


@pytest.mark.parametrize('weighting', [0.0, 0.5, 1.0])
def test_sizes_are_flattened_as_far_as_asked(
    rng: np.random.Generator, weighting: float
) -> None:
    diameters = 3.2 + np.exp(rng.normal(1.25, 0.9, 200))

    weights = nodule_weights(diameters, weighting)

    assert weights == pytest.approx(
        literal_weights(diameters.tolist(), weighting)
    )
    assert weights.sum() == pytest.approx(1)
    # a tenth of LUNA16's nodules is larger than 15 mm
    large = weights[diameters > 2**3.5].sum()
    assert large > {0.0: 0.1, 0.5: 0.25, 1.0: 0.4}[weighting]


def test_an_epoch_has_as_many_crops_of_each_kind_as_asked(
    balls: Path,
) -> None:
    data = training_crops(
        balls,
        size=(16, 16, 16),
        crops={'nodule': 40, 'lung': 7, 'anywhere': 3},
        size_weighting=0.5,
    )
    assert Counter(data.kinds) == {'nodule': 40, 'lung': 7, 'anywhere': 3}

    uids: dict[str, Counter] = {kind: Counter() for kind in data.kinds}
    nodules: Counter = Counter()
    for index in range(50):
        sample = data.start_sample(index, 3, index)
        assert sample['kind'] == data.kinds[index]
        uids[sample['kind']][sample['record'].series_uid] += 1
        if sample['nodule'] is not None:
            nodules[sample['nodule'].id] += 1

    assert set(uids['nodule']) == {'1.1'}  # the only one with nodules
    assert set(uids['lung']) == {'1.1', '1.2'}
    assert set(nodules) == {1, 2, 3} and sum(nodules.values()) == 40


def test_every_crop_is_determined_by_its_position(balls: Path) -> None:
    """Exact resume: a new process draws what the killed one had drawn."""
    crops = {'nodule': 4, 'lung': 4}

    def image(key: Key) -> bytes:
        data = training_crops(
            balls, size=(24, 24, 24), margin=2, crops=crops, seed=3
        )
        return data[key]['inputs'].numpy().tobytes()

    keys = [Key(i, e, p) for i in (0, 5) for e in (0, 1) for p in (2, 6)]
    images = [image(key) for key in keys]

    assert images == [image(key) for key in keys]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'crops': {'nodul': 1}}, "'nodul' is not a kind of crop"),
        ({'crops': {'lung': 1.5}}, r'crops.lung: 1.5; give the number'),
        ({'crops': {'lung': -1}}, 'whole number of 0 or more'),
        ({'crops': {'lung': 0}}, 'an epoch without a crop'),
        (
            {'crops': {'lung': 1}, 'background_ratio': 0.5},
            'background_ratio: 0.5, but crops',
        ),
        ({'crops': {'nodule': 1}, 'size_weighting': 1.5}, 'a fraction'),
        (
            {'crops': {'nodule': 1}, 'test_subsets': (0, 9)},
            'none of the 1 training scans .*has a nodule',
        ),
    ],
)
def test_an_epoch_that_cannot_be_put_together_is_refused(
    balls: Path, options: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        training_crops(balls, **options)


def test_lung_crops_need_no_nodule(balls: Path) -> None:
    data = training_crops(balls, crops={'lung': 2}, test_subsets=(0, 9))

    assert data.series_uids == ['1.2']
    assert len(data) == 2
