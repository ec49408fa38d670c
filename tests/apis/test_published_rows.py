from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lungdet.apis.published_rows import published_table

PAGE = Path(__file__).parents[2] / 'docs' / 'train_test.md'


def test_published_rows_average_what_the_protocol_says() -> None:
    rows = {row.name: row for row in published_table().rows}

    means = {name: np.mean(row.sensitivities) for name, row in rows.items()}

    assert means['BASE'] == pytest.approx(0.782, abs=5e-4)
    assert means['QAM'] == pytest.approx(0.832, abs=5e-4)
    assert means['QAM+MG'] == pytest.approx(0.8506, abs=5e-5)
    values = list(rows['QAM+MG'].sensitivities)
    values[4] = 0.919
    assert np.mean(values) == pytest.approx(rows['QAM+MG'].cpm, abs=5e-4)


def test_page_shows_the_published_rows() -> None:
    lines = re.findall(
        r'^\| (\S+)((?: \| 0\.\d{3}){8}) \|$', PAGE.read_text(), re.M
    )

    shown = {name: re.findall(r'[\d.]+', cells) for name, cells in lines}

    assert shown == {
        row.name: [f'{value:.3f}' for value in (*row.sensitivities, row.cpm)]
        for row in published_table().rows
    }
