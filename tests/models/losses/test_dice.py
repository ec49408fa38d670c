from __future__ import annotations

import pytest
import torch

from lungdet.models import SoftDiceLoss

# probability 1/2 in all 8 voxels, of which 2 are the nodule:
# 1 - 1 / (1 + 0.5 * 3 + 0.5 * 1) = 2 / 3
LOGITS = torch.zeros(2, 2, 2)
TARGET = torch.zeros(2, 2, 2, dtype=torch.bool)
TARGET[0, 0] = True
ONE = 2 / 3


def test_boxes_of_other_sizes_are_summed() -> None:
    logits = [LOGITS, LOGITS[:1]]
    targets = [TARGET, TARGET[:1]]
    # the second box: 1 - 1 / (1 + 0.5 * 1 + 0.5 * 1) = 1 / 2

    total = SoftDiceLoss()(logits, targets)
    weighted = SoftDiceLoss(loss_weight=3.0)(logits, targets)

    assert float(total) == pytest.approx(ONE + 0.5, rel=1e-4)
    assert float(weighted) == pytest.approx(3 * (ONE + 0.5), rel=1e-4)


def test_box_without_its_nodule_gives_nothing() -> None:
    empty = torch.zeros_like(TARGET)

    loss = SoftDiceLoss()([LOGITS, LOGITS], [TARGET, empty])

    assert float(loss) == pytest.approx(ONE, rel=1e-4)
