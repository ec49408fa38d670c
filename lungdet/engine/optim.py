"""bfloat16 training on CPU and GPU; few parameter groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from lungdet.errors import ConfigError
from lungdet.ops import bfloat16_autocast
from lungdet.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    did_you_mean,
)


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16; no loss scaling is needed.

    mmengine's AmpOptimWrapper refuses CPUs. On a CPU without bfloat16
    arithmetic training uses float32, with a warning.
    """

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model):
            with bfloat16_autocast(device):
                yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with one group per distinct setting.

    With ``paramwise_cfg`` mmengine creates one group per parameter. Optimizers
    step group by group, and fuse only the tensors of a group. A key in
    ``custom_keys`` must be in the name of a parameter.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        if not prefix:
            check_custom_keys(self.paramwise_cfg, module)
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:  # called for the whole model, not for a module in it
            params[:] = merged_groups(params)


def check_custom_keys(factors: Mapping[str, Any], model: nn.Module) -> None:
    """Compare ``custom_keys`` with the names of a model's parameters.

    Args:
        factors: The config's ``paramwise_cfg``.
        model: The whole model.

    Raises:
        ConfigError: A key that is in no name; the message has the closest
            words of names.
    """
    # mmengine puts a dot before the model's own parameters too
    names = [
        f'{prefix}.{name}'
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name, _ in module.named_parameters(recurse=False)
    ]
    for key in factors.get('custom_keys') or ():
        if not any(key in name for name in names):
            words = sorted({w for name in names for w in name.split('.')})
            raise ConfigError(
                f'optim_wrapper.paramwise_cfg.custom_keys: {key!r} is in the '
                f'name of no parameter{did_you_mean(key, words)}, so it would '
                'change nothing. Correct it, or leave it out.'
            )


def merged_groups(groups: list[dict]) -> list[dict]:
    """Merge parameter groups of equal settings, in order."""
    merged: dict[tuple, dict] = {}
    for group in groups:
        settings = {k: v for k, v in group.items() if k != 'params'}
        key = tuple(sorted(settings.items()))
        one = merged.setdefault(key, {'params': [], **settings})
        one['params'] += group['params']
    return list(merged.values())
