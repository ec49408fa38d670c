from __future__ import annotations

import numpy as np

from lungdet.report.restoration import restoration_sheet


def test_sheet_shows_middle_slices_and_their_difference(
    rng: np.random.Generator,
) -> None:
    volumes = [
        {
            name: rng.random((6, 8, 10))
            for name in ('target', 'corrupted', 'restored')
        }
        for _ in range(2)
    ]

    figure = restoration_sheet(volumes)

    shown = [axes.images[0] for axes in figure.axes]
    assert len(shown) == 8
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        'input = target',
        'corrupted',
        'restored',
        '|target - restored|',
    ]
    for row, volume in zip((shown[:4], shown[4:]), volumes):
        target, corrupted, restored = (
            volume[n][3] for n in ('target', 'corrupted', 'restored')
        )
        wanted = (target, corrupted, restored, np.abs(target - restored))
        for image, plane in zip(row, wanted):
            np.testing.assert_array_equal(image.get_array(), plane)
            assert image.get_clim() == (0, 1)  # one grey scale for all
