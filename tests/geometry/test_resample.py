from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import GeometryError
from lungdet.geometry import Geometry, axis_positions, isotropic_geometry

TILTED = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
SPACING = st.floats(0.3, 5.0)


def tilted_grid() -> Geometry:
    return Geometry.from_parts(
        (6, 9, 11),
        spacing_zyx=(2.5, 0.7, 0.8),
        origin_xyz=(-3, 4, 5),
        direction=TILTED,
    )


@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    spacing=st.tuples(SPACING, SPACING, SPACING),
    wanted=st.floats(0.4, 3.0),
)
def test_grid_follows_the_rule_on_every_axis(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    wanted: float,
) -> None:
    source = Geometry.from_parts(
        shape, spacing_zyx=spacing, origin_xyz=(7, -8, 9), direction=TILTED
    )

    target = isotropic_geometry(source, wanted)

    np.testing.assert_allclose(target.spacing, wanted, rtol=1e-12)
    np.testing.assert_allclose(target.direction, TILTED, atol=1e-12)
    for axis, found in enumerate(axis_positions(source, target)):
        scale = spacing[axis] / wanted
        size = target.shape[axis]
        assert 0 <= size - shape[axis] * scale + 2e-6 < 1 + 1e-5
        literal = [(j + 0.5) / scale - 0.5 for j in range(size)]
        np.testing.assert_allclose(found, literal, atol=1e-9)
    edge = source.to_world(np.full((1, 3), -0.5))
    np.testing.assert_allclose(target.to_index(edge), -0.5, atol=1e-9)


@pytest.mark.parametrize('spacing', [0.0, -1.0, np.nan, np.inf])
def test_grid_refuses_a_spacing_that_is_none(spacing: float) -> None:
    with pytest.raises(GeometryError, match='needs a positive number'):
        isotropic_geometry(tilted_grid(), spacing)
