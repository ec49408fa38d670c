from __future__ import annotations

import numpy as np

from lungdet.seeds import SeedStream, seed_sequence


def test_streams_and_positions_draw_apart() -> None:
    sequences = [
        seed_sequence(seed, stream, *position)
        for seed in (0, 1)
        for stream in SeedStream
        for position in ((0, 0), (0, 1), (1, 0))
    ]
    states = [tuple(s.generate_state(2).tolist()) for s in sequences]

    assert len(set(states)) == len(states)


def test_numbers_of_earlier_runs_stay() -> None:
    """A run that is resumed later must go on with the same numbers."""
    old = np.random.SeedSequence([5, 11, 2, 7, 3]).generate_state(2)

    new = seed_sequence(5, SeedStream.DETECTION_SAMPLE, 2, 7, 3)

    assert new.generate_state(2).tolist() == old.tolist()
    assert [int(stream) for stream in SeedStream] == [3, 7, 11, 13, 17]
