"""Toys and samples that the tests of restoring models share."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from lungdet.data_sample import DetDataSample
from lungdet.registry import MODELS

VECTORS = json.loads(
    (Path(__file__).parents[2] / 'data/ssl_attention_vectors.json').read_text()
)


@MODELS.register_module(force=True)
class Echo(nn.Module):
    """A backbone that passes on its input, at stride 4."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        self.received = x
        return (x,)


@MODELS.register_module(force=True)
class EchoHead(nn.Module):
    """Restores a constant."""

    def __init__(self, value: float = 0.25) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def set_mean(self, mean: Tensor) -> None:
        self.value.data.copy_(mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape)


def samples(num: int, **meta: object) -> list[DetDataSample]:
    meta = {'window': (-1200.0, 600.0), 'sample_key': 'a', **meta}
    return [
        DetDataSample(metainfo={'mask_seed': seed, **meta})
        for seed in range(num)
    ]


def num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
