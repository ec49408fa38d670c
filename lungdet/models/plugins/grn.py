"""Global response normalization: channels compete by their norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import SPACE, in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class GRN3D(AttentionPlugin):
    """Let channels compete by their norm over space.

    ``x + gamma * x * n + beta``, n the channel's L2 norm over the mean norm.

    Args:
        in_channels: C.
        eps: Added to the mean norm.

    Shape:
        (N, C, D, H, W) -> the same; 2 C parameters, zero at the start.

    Source: Woo et al. 2023 (ConvNeXt V2), section 3.2, in 3D.
    """

    name = 'grn'
    pools_over_space = True
    starts_as_identity = True

    def __init__(self, in_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(in_channels))
        self.beta = nn.Parameter(torch.zeros(in_channels))
        self.eps = eps

    def init_weights(self) -> None:
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        # the smallest number: a root has no derivative at a channel of zeros
        tiny = torch.finfo(x.dtype).tiny
        norm = (x.square().sum(SPACE, keepdim=True) + tiny).sqrt()
        relative = norm / (norm.mean(1, keepdim=True) + self.eps)
        gamma, beta = (p[:, None, None, None] for p in (self.gamma, self.beta))
        return x + gamma * x * relative + beta
