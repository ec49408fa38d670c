"""Many draws of one transform, and rates judged by their standard error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lungdet.datasets import Transform
from lungdet.geometry import Geometry

VECTORS = json.loads(
    (Path(__file__).parents[2] / 'data/ssl_attention_vectors.json').read_text()
)
SHAPE = (32, 64, 64)
DRAWS = 2000


def assert_rate(count: int, rate: float, draws: int = DRAWS) -> None:
    """An observed rate within four and a half standard errors."""
    error = 4.5 * np.sqrt(rate * (1 - rate) / draws)
    assert abs(count / draws - rate) < error, (count, rate)


def crop_sample(image: np.ndarray) -> dict:
    """A pre-training sample before its distortions."""
    return {
        'image': image,
        'target': image,
        'geometry': Geometry.from_parts(
            image.shape, spacing_zyx=(1, 2, 3), origin_xyz=(5, -7, 11)
        ),
    }


def draws(transform: Transform, shape: tuple[int, ...] = SHAPE) -> list:
    sample = crop_sample(np.zeros(shape, dtype=np.float32))
    rng = np.random.default_rng(3)
    return [transform.draw(rng, sample) for _ in range(DRAWS)]


def distorted(transform: Transform, image: np.ndarray, seed: int = 0) -> dict:
    """The sample after one transform with the draws of a seed."""
    sample = {**crop_sample(image), 'rng': np.random.default_rng(seed)}
    return dict(transform.transform(sample))
