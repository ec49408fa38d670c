"""What a network computes, compared wherever weights are used.

Tensors can fit a network that means something else by them: other anchors,
activations or borders. ``input_contract`` compares its input and its plugins,
this module the rest of its config.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from inspect import Parameter
from typing import Any

from lungdet.engine.plain_values import plain
from lungdet.errors import CheckpointError
from lungdet.registry import MODELS, TASK_UTILS

MAX_LISTED = 5  # differences in a message
# arguments that change no output of a given set of weights
NOT_COMPARED = (
    *('train_cfg', 'test_cfg', '_scope_'),
    *('init_cfg', 'prior', 'zero_init_last'),  # weights at the start
    *('channels_last', 'max_voxels', 'inplace'),  # speed and memory
    *('momentum', 'requires_grad'),  # training only
    *('window', 'out_range', 'plugins'),  # in the input contract
)
LOSS = 'loss'  # start of the names of losses and of what they are over
# what the network's parts use where a config gives None
DEFAULT_PARTS = {
    'anchor_generator': {'type': 'AnchorGenerator3D'},
    'bbox_coder': {'type': 'DeltaBoxCoder3D', 'max_dlog': 4.0},
    'bbox_roi_extractor': {'type': 'RoICrop3D'},
    'act_cfg': {'type': 'ReLU'},
}
SAME_OUTPUT = {'SyncBN': 'BN3d'}  # types that differ in training only
# what a new training that starts from weights should leave as it was
KEPT_PARTS = ('model.backbone.', 'model.rpn_head.')
KEPT_LAYERS = ('.act_cfg.', '.norm_cfg.')


def network_values(model: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a model's config that decide what it computes.

    Args:
        model: Config of the model; arguments that it leaves out have the
            defaults of their class.

    Returns:
        Plain values by dotted key.
    """
    return dict(_values(plain(dict(model)), 'model'))


def _values(cfg: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(cfg.get('type'), str):
        kind = SAME_OUTPUT.get(cfg['type'], cfg['type'])
        cfg = {**_defaults(kind), **cfg, 'type': kind}
    for name, value in cfg.items():
        if name in NOT_COMPARED or str(name).startswith(LOSS):
            continue
        if value is None:
            value = DEFAULT_PARTS.get(name)
        parts = value if isinstance(value, list) else [value]
        if not parts or not all(isinstance(part, dict) for part in parts):
            yield f'{key}.{name}', value
        elif isinstance(value, list):
            for number, part in enumerate(parts):
                yield from _values(part, f'{key}.{name}.{number}')
        else:
            yield from _values(value, f'{key}.{name}')


def _defaults(kind: str) -> dict[str, Any]:
    """The defaults of a class's arguments, by name; none if it is not
    registered. What it collects in ``**kwargs`` goes to the next in line."""
    function = MODELS.get(kind) or TASK_UTILS.get(kind)
    bases = function.__mro__[:-1] if inspect.isclass(function) else ()
    defaults: dict[str, Any] = {}
    for base in bases:
        if '__init__' not in vars(base):
            continue
        constructor = vars(base)['__init__']
        parameters = inspect.signature(constructor).parameters.values()
        for parameter in parameters:
            if parameter.default is not Parameter.empty:
                defaults.setdefault(parameter.name, parameter.default)
        if all(p.kind is not Parameter.VAR_KEYWORD for p in parameters):
            break
    return plain(defaults)


def network_differences(
    stored: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, str]:
    """What two networks of the same tensors compute differently.

    A part that only one of them has is left out: its tensors are missed or
    not used, which is told elsewhere. A class of one's own that derives from
    the trained one may stand for it.

    Args:
        stored: Config of the network that the weights are of.
        model: Config of the network that gets them.

    Returns:
        Both values as text, by dotted key.
    """
    there, here = network_values(stored), network_values(model)
    return {
        key: f'{key} was {there[key]!r} and is {value!r}'
        for key, value in here.items()
        if key in there
        and there[key] != value
        and not _is_derived(value, there[key])
    }


def _is_derived(kind: Any, trained: Any) -> bool:
    """Whether a value is a user's class that stands for the trained one."""
    classes = [
        (MODELS.get(one) or TASK_UTILS.get(one))
        if isinstance(one, str)
        else None
        for one in (kind, trained)
    ]
    first, base = classes
    return (
        inspect.isclass(first)
        and inspect.isclass(base)
        and issubclass(first, base)
        and not first.__module__.startswith('lungdet.')
    )


def network_caveats(
    stored: Mapping[str, Any],
    model: Mapping[str, Any],
    where: str,
    *,
    may_differ: bool,
    layers_only: bool,
) -> list[str]:
    """Compare the network that weights are of with that which gets them.

    Args:
        stored: Config of the network that the weights are of.
        model: Config of the network that gets them.
        where: Names the weights.
        may_differ: Whether a difference is a caveat, since a training adapts
            the weights, and not an error.
        layers_only: Whether only norms and activations of backbone and RPN
            are a caveat, since a new training may have other heads.

    Returns:
        A caveat, or none.

    Raises:
        CheckpointError: They differ, and may not; the message has keys and
            both values.
    """
    differences = network_differences(stored, model)
    if may_differ and layers_only:
        differences = {
            key: text
            for key, text in differences.items()
            if key.startswith(KEPT_PARTS)
            and any(name in key for name in KEPT_LAYERS)
        }
    if not differences:
        return []
    text = f'{where}: weights of another network: {_first(differences)}'
    if may_differ:
        return [f'{text}; only further training can adapt them']
    raise CheckpointError(
        f'{text}. Here they would compute something else. Use the values of '
        'before, or start a training with the new ones from these weights by '
        'load_from.'
    )


def _first(differences: Mapping[str, str]) -> str:
    texts = [*differences.values()]
    more = len(texts) - MAX_LISTED
    return '; '.join(texts[:MAX_LISTED]) + (
        f'; and {more} more' if more > 0 else ''
    )
