"""Cost of a network: parameters, and multiply-adds for one crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from terminaltables import AsciiTable
from torch.utils.flop_counter import FlopCounterMode

from lungdet.engine.protocols import HasRPNHead


@dataclass(frozen=True)
class ModelCost:
    """Cost of a network.

    Attributes:
        parameters: Number of parameters of each part of the model.
        multiply_adds: Number of multiply-adds of the backbone and the dense
            head: the RPN, or the restoration head.
        side: Side of the cubic crop in voxels.
    """

    parameters: dict[str, int]
    multiply_adds: float
    side: int

    def text(self) -> str:
        """A table of the parts, and the multiply-adds, as text."""
        table = [['part', 'parameters']]
        table += [[name, f'{n:,}'] for name, n in self.parameters.items()]
        table.append(['all', f'{sum(self.parameters.values()):,}'])
        return (
            f'{AsciiTable(table).table}\n{self.multiply_adds / 1e9:.1f} GMAC '
            f'for backbone and dense head at {self.side}^3'
        )


def model_cost(model: Any, side: int = 128) -> ModelCost:
    """Count parameters and multiply-adds.

    Args:
        model: A detector, or a model that restores crops.
        side: Side of the crop in voxels.
    """
    crop = torch.zeros(1, 1, side, side, side)
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = model(crop, mode='tensor')
        if isinstance(model, HasRPNHead):
            model.rpn_head(outputs)
    return ModelCost(
        {
            name: sum(p.numel() for p in part.parameters())
            for name, part in model.named_children()
        },
        counter.get_total_flops() / 2,
        side,
    )
