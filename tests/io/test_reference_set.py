from __future__ import annotations

from collections import Counter

from lungdet.io.reference_set import official_reference, official_subsets


def test_tables_have_the_published_numbers() -> None:
    """888 scans, 1,186 nodules in 601 of them: Setio et al. 2017."""
    reference = official_reference()

    assert len(reference.seriesuids) == len({*reference.seriesuids}) == 888
    assert sum(map(len, reference.annotations.values())) == 1186
    assert len(reference.annotations) == 601
    assert {*reference.annotations} <= {*reference.seriesuids}
    diameters = [
        row.diameter_mm or 0
        for rows in reference.annotations.values()
        for row in rows
    ]
    assert 3 < min(diameters) and max(diameters) < 33


def test_ten_subsets_of_88_and_89_scans() -> None:
    subsets = official_subsets()

    assert tuple(subsets) == official_reference().seriesuids
    assert sorted(Counter(subsets.values())) == list(range(10))
    assert sorted({*Counter(subsets.values()).values()}) == [88, 89]
