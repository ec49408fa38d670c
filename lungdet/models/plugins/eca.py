"""ECA: a gate for each channel, from the means of its neighbours."""

from __future__ import annotations

import math

from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.models.plugins.base import AttentionPlugin
from lungdet.models.plugins.gate_parts import SPACE, gate, in_float32
from lungdet.registry import MODELS


@MODELS.register_module()
class ECA3D(AttentionPlugin):
    """Scale channels by a gate computed from neighbouring channels' means.

    Args:
        in_channels: C.
        kernel_size: Taps k along the channel index, odd; None: by C, 3 for
            32 to 96 channels, 5 for 128.
        identity_start: Start as the identity, for a network that is
            trained already; else the gates start near 0.5.

    Shape:
        (N, C, D, H, W) -> the same; k parameters.

    Raises:
        ConfigError: ``kernel_size`` is even.

    Source: Wang et al. 2020, equation 12 (gamma 2, b 1), with 3D pooling.
    """

    name = 'eca'
    pools_over_space = True
    zero_at_start = ('conv',)

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | None = None,
        *,
        identity_start: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size is None:
            # the paper's estimate, rounded up to an odd number
            kernel_size = int((math.log2(in_channels) + 1) / 2) // 2 * 2 + 1
        if kernel_size % 2 == 0:
            raise ConfigError(
                f'ECA3D: kernel_size={kernel_size} is even and has no middle '
                'channel; choose an odd number.'
            )
        self.conv = nn.Conv1d(
            1, 1, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.identity_start = identity_start
        self.init_weights()

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        logits = self.conv(x.mean(SPACE)[:, None])[:, 0]
        scale = gate(logits, identity_start=self.identity_start)
        return x * scale[:, :, None, None, None]
