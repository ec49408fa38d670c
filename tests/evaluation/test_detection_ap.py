from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.evaluation import average_precision
from tests.oracles.ap_literal import literal_ap

UIDS = ['a', 'b', 'c']

side = st.integers(1, 4)
corner = st.integers(0, 4)
box = st.tuples(corner, corner, corner, side, side, side).map(
    lambda b: [float(v) for v in (*b[:3], *np.add(b[:3], b[3:]))]
)
truths = st.dictionaries(
    st.sampled_from('abcd'), st.lists(box, max_size=3)
).filter(lambda t: any(t.get(u) for u in UIDS))
detections = st.dictionaries(
    st.sampled_from('abcd'),
    st.lists(st.tuples(box, st.integers(0, 4).map(float)), max_size=6),
)


def arrays(rows_of: dict) -> dict:
    return {
        u: (
            np.array([b for b, _ in rows]).reshape(-1, 6),
            np.array([s for _, s in rows], dtype=float),
        )
        for u, rows in rows_of.items()
    }


@given(truth=truths, detected=detections, max_boxes=st.sampled_from([2, 100]))
def test_agrees_with_the_literal_version(
    truth: dict, detected: dict, max_boxes: int
) -> None:
    boxes = {u: np.array(b).reshape(-1, 6) for u, b in truth.items()}

    precision = average_precision(
        boxes, arrays(detected), UIDS, max_boxes=max_boxes
    )

    wanted = [
        literal_ap(truth, detected, UIDS, thr, max_boxes)
        for thr in precision.iou_thrs
    ]
    np.testing.assert_allclose(precision.values, wanted, atol=1e-12)
    assert precision.nodules == sum(len(truth.get(u, [])) for u in UIDS)


def test_hand_worked_precision() -> None:
    # two nodules; ranked: hit, miss, hit. Precision 1 up to recall 1/2 (51
    # of 101 recalls), then 2/3 (50)
    nodules = {
        'a': np.array([[0.0, 0, 0, 4, 4, 4]]),
        'b': np.array([[0.0, 0, 0, 2, 2, 2]]),
    }
    detected = {
        'a': (np.array([[0.0, 0, 0, 4, 4, 4]]), np.array([0.9])),
        'b': (
            np.array([[9.0, 9, 9, 12, 12, 12], [0, 0, 0, 2, 2, 2]]),
            np.array([0.8, 0.7]),
        ),
    }

    result = average_precision(nodules, detected, ['a', 'b'])

    assert result.values == pytest.approx([(51 + 50 * 2 / 3) / 101] * 9)
    assert result.iou_thrs == (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    assert result.mean == pytest.approx(result.values[0])


def test_shifted_box_counts_up_to_its_iou() -> None:
    # two cubes of 4 shifted by 2 along z: 32 of 96 voxels, IoU 1/3
    nodules = {'a': np.array([[0.0, 0, 0, 4, 4, 4]])}
    detected = {'a': (np.array([[2.0, 0, 0, 6, 4, 4]]), np.array([0.5]))}

    result = average_precision(nodules, detected, ['a'])

    assert result.values == [1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert result.mean == pytest.approx(5 / 9)


def test_no_nodule_and_no_box() -> None:
    nodules = {'a': np.array([[0.0, 0, 0, 4, 4, 4]])}

    assert average_precision({}, {}, ['a']).mean is None
    assert average_precision(nodules, {}, ['a']).values == [0.0] * 9
