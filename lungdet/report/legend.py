"""Names of runs in the legends of figures."""

from __future__ import annotations

import textwrap

MAX_CHARACTERS = 30  # of a line; about half of a figure


def legend_label(name: str, value: str) -> str:
    """The label of a curve, in several lines if its name is long.

    Args:
        name: Name of the run; it may be a path without spaces.
        value: What the legend says of it; it is not broken.

    Examples:
        >>> legend_label('base', 'CPM 0.800')
        'base, CPM 0.800'
        >>> legend_label('nodulenet_quartet_attention_seed_0', 'CPM 0.800')
        'nodulenet_quartet_attention_se\\ned_0, CPM 0.800'
    """
    *lines, last = textwrap.wrap(f'{name},', MAX_CHARACTERS)
    fits = len(last) + 1 + len(value) <= MAX_CHARACTERS
    end = [f'{last} {value}'] if fits else [last, value]
    return '\n'.join([*lines, *end])
