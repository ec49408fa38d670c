"""What a reader of a figure must know, in the figure itself."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

INCHES_PER_CHARACTER = 0.075  # at the size of the notes


def print_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Print notes below a figure, such as scans that were seen before."""
    if notes:
        width = int(figure.get_figwidth() / INCHES_PER_CHARACTER)
        text = '\n'.join(textwrap.fill(note, width) for note in notes)
        figure.supxlabel(text, fontsize=8, color='tab:red')
