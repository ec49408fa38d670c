"""Caveats printed in the figure itself."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from matplotlib.figure import Figure

INCHES_PER_CHARACTER = 0.075  # at the size of the printed text


def print_caveats(figure: Figure, caveats: Iterable[str]) -> None:
    """Print caveats below a figure, such as that test scans were trained on.

    Args:
        figure: Gets the text.
        caveats: One line each, wrapped at the figure's width.
    """
    width = int(figure.get_figwidth() / INCHES_PER_CHARACTER)
    text = '\n'.join(textwrap.fill(caveat, width) for caveat in caveats)
    if text:
        figure.supxlabel(text, fontsize=8, color='tab:red')
