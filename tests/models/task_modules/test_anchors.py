from __future__ import annotations

from lungdet.models import AnchorGenerator3D


def test_anchors_of_a_shape_are_made_once() -> None:
    generator = AnchorGenerator3D()

    first = generator.grid_anchors((2, 3, 4))
    other = generator.grid_anchors((4, 3, 2))

    assert generator.grid_anchors((2, 3, 4)) is first
    # flat order: sizes, then x, y, z; cell (0, 0, 1) follows the five sizes
    assert first[5].tolist() == [-0.5, -0.5, 3.5, 4.5, 4.5, 8.5]
    assert other[2 * 5].tolist() == [-0.5, 3.5, -0.5, 4.5, 8.5, 4.5]
