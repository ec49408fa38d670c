"""Random numbers derived from a seed and a position, not from a state.

Every source of randomness in a run has its stream here, so two of them never
share their numbers, and a resumed run gets the same numbers as an
uninterrupted one.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

SEED_RANGE = 2**31


class SeedStream(IntEnum):
    """What is drawn from a run's seed; each value is used once.

    Attributes:
        ORDER: Order of an epoch's samples, by epoch.
        MODEL: The model's draws, by iteration and rank.
        DETECTION_SAMPLE: A detection sample, by epoch, position and index.
        LUNG_CROP: A pre-training crop, by epoch, position and index.
        FIXED_LUNG_CROP: A validation crop of pre-training, by scan and crop.
    """

    ORDER = 3
    MODEL = 7
    DETECTION_SAMPLE = 11
    LUNG_CROP = 13
    FIXED_LUNG_CROP = 17


def seed_sequence(
    seed: int, stream: SeedStream, *position: int
) -> np.random.SeedSequence:
    """Entropy of one draw.

    Args:
        seed: Seed of the run, not negative.
        stream: What is drawn.
        position: Which one of the stream: epoch, position in it, ...
    """
    return np.random.SeedSequence([seed, int(stream), *position])


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for whoever draws later, such as ``apply`` of a transform."""
    return int(rng.integers(SEED_RANGE))


class Key(int):
    """A data set index with its epoch and its position in the epoch."""

    epoch: int
    pos: int

    def __new__(cls, index: int, epoch: int, pos: int) -> Key:
        self = super().__new__(cls, index)
        self.epoch, self.pos = epoch, pos
        return self

    def __reduce__(self) -> tuple:
        return Key, (int(self), self.epoch, self.pos)
