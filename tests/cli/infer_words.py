"""Words of `lungdet infer` that several tests share."""

from __future__ import annotations

from pathlib import Path


def weights_and_out(trained: Path, out: Path) -> list[str]:
    words = ['--model', str(trained), '--out', str(out), '--formats', 'json']
    return [*words, '--precision', 'fp32']
