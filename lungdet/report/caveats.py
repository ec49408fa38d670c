"""What a reader of a figure must know, in the figure itself."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

INCHES_PER_CHARACTER = 0.075  # at the size of the caveats


def print_caveats(figure: Figure, caveats: Sequence[str]) -> None:
    """Print caveats below a figure, such as scans that were seen before."""
    if caveats:
        width = int(figure.get_figwidth() / INCHES_PER_CHARACTER)
        text = '\n'.join(textwrap.fill(caveat, width) for caveat in caveats)
        figure.supxlabel(text, fontsize=8, color='tab:red')
