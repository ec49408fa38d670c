"""Export of a detector: ONNX graphs, and a JSON file that describes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lungdet.deploy.description import SCHEMA, describe
from lungdet.deploy.graph_files import compare_graphs, write_graphs
from lungdet.deploy.graph_specs import graph_specs
from lungdet.deploy.runtimes import open_graphs, require
from lungdet.engine.checkpoint import resolve_checkpoint
from lungdet.engine.detector import load_detector
from lungdet.engine.release import is_release, read_card, shipped_release
from lungdet.errors import CheckpointError, SeriesError
from lungdet.io.atomic import atomic_paths, check_writable
from lungdet.io.digests import sha256_of
from lungdet.io.json_file import (
    DIGEST,
    digest_of,
    read_object,
    shape_checked,
    text,
    with_digest,
)

CARD = 'detector.json'
REMEDY = 'Export the detector again.'


class OnnxExport(NamedTuple):
    """A written export.

    Attributes:
        folder: Folder of the files.
        card: Content of its ``detector.json``.
        differences: Largest difference from torch of each graph, relative to
            the largest absolute value of the output.
    """

    folder: Path
    card: dict[str, Any]
    differences: dict[str, float]


def export_onnx(
    folder: str | Path, weights: str | Path | None = None
) -> OnnxExport:
    """Export a detector as ONNX graphs and ``detector.json``.

    Each graph is checked by the ONNX library, and its output in ONNX Runtime
    is compared with torch. All files are read back. ``detector.json`` is
    written last; other files in the folder are left alone.

    Args:
        folder: Output folder, created if missing.
        weights: As ``resolve_checkpoint`` takes it; None for the detector
            that comes with lungdet.

    Raises:
        CheckpointError: The file is not a lungdet detector, or the output of
            a graph differs from the network's.
        ConfigError: The detector is an ensemble, it has a component that
            ``describe`` cannot describe, or a library is missing.
        OSError: The folder cannot be written to.
    """
    require('onnxruntime')
    path = resolve_checkpoint(weights or shipped_release())
    detector = load_detector(path)
    folder = check_writable(folder, 'the graphs')
    specs = graph_specs(detector.model)
    with TemporaryDirectory(prefix='lungdet-') as scratch:
        files = write_graphs(specs, Path(scratch))
        card = with_digest(describe(detector, specs, files, _terms(path)))
        differences = compare_graphs(specs, open_graphs(files, 'onnxruntime'))
        names = [file.name for file in files.values()]
        with atomic_paths([folder / n for n in (*names, CARD)]) as asides:
            for file, aside in zip(files.values(), asides):
                shutil.copyfile(file, aside)
            content = json.dumps(card, indent=1) + '\n'
            asides[-1].write_bytes(content.encode())
    return OnnxExport(folder, read_export(folder), differences)


def read_export(folder: str | Path) -> dict[str, Any]:
    """Read ``detector.json``, and verify the digests of all files.

    Raises:
        CheckpointError: A file is missing or was changed.
    """
    path = Path(folder) / CARD
    try:
        card = read_object(path, REMEDY)
        with shape_checked(str(path), REMEDY):
            digests = {
                path.with_name(text(graph['file'])): graph['sha256']
                for graph in card['graphs'].values()
            }
    except (FileNotFoundError, SeriesError) as error:
        raise CheckpointError(str(error)) from error
    if card.get('schema') != SCHEMA or card.get(DIGEST) != digest_of(card):
        raise CheckpointError(
            f'{path}: was changed after the export, or is of another version. '
            f'{REMEDY}'
        )
    for file, digest in digests.items():
        if not file.is_file() or sha256_of(file) != digest:
            raise CheckpointError(
                f'{file}: is not the graph that {CARD} describes. {REMEDY}'
            )
    return card


def _terms(path: Path) -> dict[str, Any] | None:
    """Licence terms of a release; None for other weights."""
    if not is_release(path):
        return None
    card = read_card(path)
    return {name: card[name] for name in ('licences', 'attribution')}
