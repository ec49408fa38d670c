"""A released detector: a safetensors file and a JSON file of the same name.

The JSON says how the network is built, what it was trained on, which scores
its false positives have, and under which licences it is distributed. Neither
file contains code, and a changed file is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lungdet.engine.checkpoint_checks import check_trained
from lungdet.errors import CheckpointError, SeriesError
from lungdet.io.atomic import atomic_path, write_text
from lungdet.io.digests import sha256_of
from lungdet.io.json_file import (
    DIGEST,
    digest_of,
    read_object,
    shape_checked,
    with_digest,
)

RELEASE_SCHEMA = 'lungdet.release/1'
SUFFIX = '.safetensors'
SHIPPED = 'lungdet_s'
USUAL_FP_RATE = '1'  # per scan, at which detections are shown
WEIGHTS = Path(str(resources.files('lungdet'))) / 'weights'
REMEDY = 'Give both files of a release as they were published.'


def shipped_release() -> Path:
    """The detector that comes with lungdet.

    Raises:
        FileNotFoundError: This installation lacks it.
    """
    path = WEIGHTS / f'{SHIPPED}{SUFFIX}'
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: this installation of lungdet comes without a detector; '
            'install lungdet again, or give a checkpoint.'
        )
    return path


def is_release(path: str | Path) -> bool:
    """Whether a file of tensors has a JSON file beside it."""
    path = Path(path)
    return path.suffix == SUFFIX and path.with_suffix('.json').is_file()


def releases_in(folder: Path) -> dict[str, Path]:
    """Releases of a folder by name; hidden files are left out."""
    files = sorted(folder.glob(f'[!.]*{SUFFIX}'))
    return {file.stem: file for file in files if is_release(file)}


def shipped_releases() -> dict[str, Path]:
    """All detectors that come with lungdet, by name."""
    return releases_in(WEIGHTS)


def only_release(folder: Path) -> Path | None:
    """The one release of a folder; None if it has none.

    Raises:
        CheckpointError: It has several.
    """
    files = [*releases_in(folder).values()]
    if len(files) > 1:
        names = ', '.join(file.name for file in files)
        raise CheckpointError(
            f'{folder}: holds {len(files)} releases ({names}); give the file '
            'of one.'
        )
    return files[0] if files else None


def tensors_beside(card: Path) -> Path:
    """The safetensors file that the JSON of a release describes.

    Raises:
        CheckpointError: It is missing.
    """
    file = card.with_suffix(SUFFIX)
    if not file.is_file():
        raise CheckpointError(
            f'{card}: no weights, and {file.name} is not beside it. {REMEDY}'
        )
    return file


def write_release(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    card: Mapping[str, Any],
) -> None:
    """Write a release.

    Args:
        path: Path of the safetensors file; the JSON gets the same name.
        state: The network's ``state_dict``.
        card: What ``release.schema.json`` requires, except ``schema``,
            ``weights``, ``tensors`` and ``digest``.

    Raises:
        DivergenceError: A weight is not finite.
    """
    path = Path(path)
    check_trained(state, path)
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in state.items()
    }
    with atomic_path(path) as aside:
        aside.write_bytes(save(tensors, metadata={'format': RELEASE_SCHEMA}))
    content = {
        'schema': RELEASE_SCHEMA,
        **card,
        'weights': {
            'file': path.name,
            'bytes': path.stat().st_size,
            'sha256': sha256_of(path),
        },
        'tensors': {name: list(v.shape) for name, v in tensors.items()},
    }
    text = json.dumps(with_digest(content), indent=1)
    write_text(path.with_suffix('.json'), text + '\n')


def read_release(path: str | Path) -> dict[str, Any]:
    """A release in the form of a checkpoint, with its ``release``.

    Its thresholds become the network's ``test_cfg.score_thr`` and
    ``score_thrs``. The digest, and names and shapes of all tensors, are
    compared before tensors are read.

    Args:
        path: Path of the safetensors file.

    Raises:
        FileNotFoundError: It is not there.
        CheckpointError: Not a release, or one that was changed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such weights; check the path.')
    card = read_card(path)
    try:
        with shape_checked(str(path.with_suffix('.json')), REMEDY):
            meta = _meta_of(card)
            release = {'name': card['name'], 'version': card['version']}
            sha256, shapes = card['weights']['sha256'], card['tensors']
    except SeriesError as error:
        raise CheckpointError(str(error)) from error
    return {
        'meta': meta,
        'state_dict': _read_tensors(path, sha256, shapes),
        'optimizer': {},
        'param_schedulers': [],
        'runtime': {},
        'release': release,
    }


def read_card(path: str | Path) -> dict[str, Any]:
    """The JSON of a release, by the path of its safetensors file.

    Raises:
        CheckpointError: It is missing, not of this kind, or was changed.
    """
    file = Path(path).with_suffix('.json')
    if not file.is_file():
        raise CheckpointError(
            f'{path}: {file.name} is not beside it, so it is not known what '
            f'network its tensors are of. {REMEDY}'
        )
    try:
        card = read_object(file, REMEDY)
    except SeriesError as error:
        raise CheckpointError(str(error)) from error
    if card.get('schema') != RELEASE_SCHEMA:
        raise CheckpointError(
            f'{file}: schema {card.get("schema")!r}, this version reads '
            f'{RELEASE_SCHEMA!r}. {REMEDY}'
        )
    if card.get(DIGEST) != digest_of(card):
        raise CheckpointError(
            f'{file}: was changed after it was written. {REMEDY}'
        )
    return card


def _meta_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's ``meta``, with the release's thresholds."""
    meta, scores = card['checkpoint'], dict(card['thresholds'])
    model = meta['model']
    test_cfg = {
        **(model.get('test_cfg') or {}),
        'score_thr': scores[USUAL_FP_RATE],
        'score_thrs': scores,
    }
    return {**meta, 'model': {**model, 'test_cfg': test_cfg}}


def _read_tensors(
    path: Path, sha256: str, shapes: Mapping[str, list[int]]
) -> dict[str, torch.Tensor]:
    """The tensors, which must be exactly those of the JSON."""
    if sha256_of(path) != sha256:
        raise CheckpointError(
            f'{path}: its SHA-256 is not that of {path.stem}.json; the file '
            f'is cut, or of another release. {REMEDY}'
        )
    try:
        with safe_open(path, 'pt') as file:
            stored = {
                name: list(file.get_slice(name).get_shape())
                for name in file.keys()
            }
            if stored != shapes:
                raise CheckpointError(
                    f'{path}: its tensors are not those of {path.stem}.json. '
                    f'{REMEDY}'
                )
            return {name: file.get_tensor(name) for name in stored}
    except SafetensorError as error:
        raise CheckpointError(
            f'{path}: not a safetensors file ({error}). {REMEDY}'
        ) from error
