from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.models import BBox3DHead

GT = torch.tensor([[10.0, 10, 10, 20, 20, 20]])


def test_a_score_of_zero_keeps_its_row() -> None:
    """Published: the row is lost from one of two lists."""
    logits = torch.tensor([[105.0, 0.0], [0.0, 0.0]])

    boxes, scores = BBox3DHead().predict(
        GT.repeat(2, 1), logits, torch.zeros(2, 12), (32, 32, 32)
    )

    assert scores.tolist() == [0, 0.5]
    assert torch.equal(boxes, GT.repeat(2, 1))


def test_deltas_of_the_rows_class_are_trained() -> None:
    head = BBox3DHead(in_channels=2, fc_channels=(8, 4))
    deltas = torch.zeros(2, 12)
    deltas[0, 6] = 0.5  # of the nodule class, in the positive row
    deltas[1, 6] = deltas[0, 0] = 9.0  # of background, and in a negative row

    losses = head.loss(
        torch.zeros(2, 2), deltas, torch.tensor([1, 0]), torch.zeros(1, 6)
    )

    assert float(losses['loss_rcnn_bbox']) == pytest.approx(0.5 * 0.5**2)


@pytest.mark.parametrize(
    'norm_cfg', [{'type': 'LN'}, {'type': 'GN', 'num_groups': 2}]
)
def test_norm_of_the_hidden_rows(norm_cfg: dict) -> None:
    head = BBox3DHead(2, (8, 4), norm_cfg=norm_cfg, act_cfg={'type': 'GELU'})
    hidden: list[torch.Tensor] = []
    head.fc2.register_forward_pre_hook(lambda _, x: hidden.append(x[0]))

    logits, deltas = head(torch.randn(1, 2, 7, 7, 7))

    assert logits.shape == (1, 2) and deltas.shape == (1, 12)
    # GELU, unlike ReLU, lets a little below 0 through
    assert -0.2 < float(hidden[0].detach().min()) < 0


def test_norms_of_volumes_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="'BN3d' normalises volumes.*'LN'"):
        BBox3DHead(norm_cfg={'type': 'BN3d'})
