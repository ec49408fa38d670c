from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from lungdet.io.luna16 import read_annotations
from lungdet.phantom.nodules import draw_diameter


def test_diameters_follow_luna16(
    test_data: Path, rng: np.random.Generator
) -> None:
    table = read_annotations(test_data / 'froc-oracles' / 'annotations.csv')
    real = [a.diameter_mm for rows in table.values() for a in rows]

    distance = stats.ks_2samp(real, draw_diameter(rng, 20_000)).statistic

    assert len(real) == 1186
    assert distance < 0.05  # .035 for the fit; a plain lognormal has .111
