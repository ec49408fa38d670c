"""Configs of model parts, completed by defaults."""

from __future__ import annotations

import copy
from typing import Any

from lungdet.errors import ConfigError
from lungdet.registry import did_you_mean


def with_defaults(
    given: dict[str, Any] | None, defaults: dict[str, Any], where: str
) -> dict[str, Any]:
    """Defaults updated by the given values.

    Args:
        given: May lack any key; None for none.
        defaults: Every known key. A nested dict is merged in the same way; one
            with a ``type`` is a component: its keys merge freely, and a
            ``type`` in ``given`` replaces the whole component.
        where: Names the dict in the message.

    Raises:
        ConfigError: A key without a default.
    """
    result = copy.deepcopy(defaults)
    for key, value in (given or {}).items():
        if key not in defaults:
            raise ConfigError(
                f'{where}: unknown key {key!r}{did_you_mean(key, defaults)}; '
                f'known: {sorted(defaults)}.'
            )
        default = result[key]
        if not isinstance(default, dict):
            result[key] = value
        elif 'type' not in default:
            result[key] = with_defaults(value, default, f'{where}.{key}')
        elif 'type' in (value or {}):
            result[key] = dict(value)
        else:
            result[key] = {**default, **(value or {})}
    return result
