"""Boxes as deltas, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lungdet.models import DeltaBoxCoder3D

# sides 4, 8 and 10 around (2, 4, 5)
ANCHOR = torch.tensor([[0.0, 0, 0, 4, 8, 10]])
# sides 8, 8 and 5 around (3, 0, 5)
BOX = torch.tensor([[-1.0, -4, 2.5, 7, 4, 7.5]])
# shifts +1, -4, 0 over the anchor's sides; sides 2, 1 and 1/2 times as long
DELTAS = torch.tensor([[0.25, -0.5, 0, math.log(2), 0, -math.log(2)]])


def test_deltas_are_shifts_over_sides_and_log_ratios() -> None:
    torch.testing.assert_close(DeltaBoxCoder3D().encode(ANCHOR, BOX), DELTAS)


def test_decoding_gives_the_box() -> None:
    torch.testing.assert_close(DeltaBoxCoder3D().decode(ANCHOR, DELTAS), BOX)


def test_no_deltas_leave_the_anchor() -> None:
    zero = torch.zeros(1, 6)

    assert torch.equal(DeltaBoxCoder3D().decode(ANCHOR, zero), ANCHOR)
    assert torch.equal(DeltaBoxCoder3D().encode(ANCHOR, ANCHOR), zero)


def test_weights_multiply_deltas_and_are_taken_out_again() -> None:
    coder = DeltaBoxCoder3D(weights=(1, 2, 3, 10, 20, 30))

    encoded = coder.encode(ANCHOR, BOX)

    factors = torch.tensor([1.0, 2, 3, 10, 20, 30])
    torch.testing.assert_close(encoded, DELTAS * factors)
    torch.testing.assert_close(coder.decode(ANCHOR, encoded), BOX)


@pytest.mark.parametrize(
    ('max_dlog', 'side'), [(None, 4 * math.exp(5)), (4.0, 4 * math.exp(4))]
)
def test_growth_is_bounded_where_it_is_asked_for(
    max_dlog: float | None, side: float
) -> None:
    deltas = torch.tensor([[0.0, 0, 0, 5, 0, -9]])

    (box,) = DeltaBoxCoder3D(max_dlog=max_dlog).decode(ANCHOR, deltas)

    assert float(box[3] - box[0]) == pytest.approx(side, rel=1e-5)
    assert float(box[4] - box[1]) == 8
    # shrinking is not bounded
    assert float(box[5] - box[2]) == pytest.approx(10 * math.exp(-9), abs=1e-5)


def test_every_row_has_its_own_anchor_and_none_is_fine() -> None:
    anchors = torch.cat([ANCHOR, BOX])
    boxes = torch.cat([BOX, BOX])

    encoded = DeltaBoxCoder3D().encode(anchors, boxes)

    torch.testing.assert_close(encoded, torch.cat([DELTAS, torch.zeros(1, 6)]))
    assert DeltaBoxCoder3D().decode(anchors[:0], encoded[:0]).shape == (0, 6)
