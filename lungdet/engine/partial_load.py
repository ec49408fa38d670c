"""Weights that fill a network, or part of it: how much must fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from lungdet.engine.checkpoint_checks import check_finite_weights
from lungdet.engine.protocols import BlockPlugin
from lungdet.errors import CheckpointError

MIN_VALUES = 0.9  # fraction of a module's values that a file must fill
MIN_TENSORS = 0.95  # fraction of its tensors: norms and gates have few values
LOSS = '.loss_'  # in the names of a loss's state
MAX_LISTED = 20  # names in a message
FEW_LISTED = 3  # names in a caveat


def fill_module(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    where: str | Path,
    *,
    min_tensors: float = MIN_TENSORS,
    needed: Collection[str] = (),
) -> str:
    """Copy the tensors that fit by name and shape, if there are enough.

    Args:
        module: Not changed if too little fits.
        tensors: By the module's names.
        where: Source of the tensors, for the message.
        min_tensors: Fraction of the module's tensors that must be filled,
            besides ``MIN_VALUES`` of its values. 0 if the module may have new
            gates, which are many tensors of few values.
        needed: Names of tensors that must all be filled: a test must not run
            with random weights.

    Returns:
        One line of numbers.

    Raises:
        CheckpointError: Too little fits; the message lists what is missing.
            Or a value is not finite, or whole numbers stand for weights.
    """
    check_finite_weights(tensors, where)
    state = module.state_dict()
    fitting = {k: v for k, v in tensors.items() if _fits(v, state.get(k))}
    _check_floats(fitting, state, where)
    total = sum(value.numel() for value in state.values())
    filled = sum(value.numel() for value in fitting.values()) / max(total, 1)
    line = (
        f'{where}: fills {len(fitting)} of {len(state)} tensors '
        f'({filled:.1%} of the values), {len(tensors) - len(fitting)} of the '
        'file are not used'
    )
    if filled < MIN_VALUES or len(fitting) < min_tensors * len(state):
        missing = [
            k + (' (another shape)' if k in tensors else '')
            for k in state
            if k not in fitting
        ]
        raise CheckpointError(
            f'{line}; at least {MIN_VALUES:.0%} of the values and '
            f'{min_tensors:.0%} of the tensors must be filled. Missing: '
            f'{_first(missing, MAX_LISTED)}. Use the network, with the '
            'plugins, that the weights were trained with.'
        )
    if lacking := [name for name in needed if name not in fitting]:
        raise CheckpointError(
            f'{line}; without {_first(lacking, 1)} the network would run with '
            'random weights. Use the network that the weights were trained '
            'with, and a whole checkpoint.'
        )
    module.load_state_dict(fitting, strict=False)
    return line


def unused_tensors(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    where: str | Path,
) -> list[str]:
    """A caveat if a network takes only a part of a file's tensors.

    The state of a loss is not counted, since it is for training only.
    """
    state = module.state_dict()
    unused = [
        k
        for k, v in tensors.items()
        if not _fits(v, state.get(k)) and LOSS not in k
    ]
    if not unused:
        return []
    return [
        f'{where}: {len(unused)} of its {len(tensors)} tensors are not used, '
        f'such as {unused[0]}; the network is not the one that was trained, '
        'or the file was changed'
    ]


def fill_caveats(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    where: str | Path,
) -> list[str]:
    """Caveats if a network takes only a part of a file's tensors, or keeps
    random values because the file lacks some.

    New plugins, which may be added to weights, and the state of losses are not
    counted.
    """
    state = module.state_dict()
    caveats = unused_tensors(module, tensors, where)
    names = tensors_outside_plugins(module)
    left = [k for k in names if not _fits(tensors.get(k), state[k])]
    if left:
        caveats.append(
            f'{where}: does not fill {len(left)} of the {len(names)} tensors '
            f'outside plugins ({_first(left, FEW_LISTED)}), which keep random '
            'values'
        )
    return caveats


def _check_floats(
    fitting: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    where: str | Path,
) -> None:
    wrong = [
        k
        for k, v in fitting.items()
        if state[k].is_floating_point() and not v.is_floating_point()
    ]
    if wrong:
        raise CheckpointError(
            f'{where}: {_first(wrong, 1)} of type {fitting[wrong[0]].dtype}, '
            'where weights are floating-point numbers; the file is damaged. '
            'Give another checkpoint, or train again.'
        )


def _fits(value: Any, other: torch.Tensor | None) -> bool:
    return (
        value is not None and other is not None and value.shape == other.shape
    )


def _first(names: list[str], number: int) -> str:
    more = len(names) - number
    return ', '.join(names[:number]) + (
        f' and {more} more' if more > 0 else ''
    )


def tensors_outside_plugins(module: torch.nn.Module) -> list[str]:
    """Names of a network's tensors without those of its plugins and losses.

    New plugins may be added to weights where they start as the identity, which
    the input contract checks. The state of a loss (a head's ``loss_cls`` and
    so on) is needed for training only.
    """
    plugins = tuple(
        f'{name}.'
        for name, part in module.named_modules()
        if isinstance(part, BlockPlugin)
    )
    return [
        k
        for k in module.state_dict()
        if not k.startswith(plugins) and LOSS not in k
    ]
