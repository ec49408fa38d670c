"""The reference vectors' pseudo-random numbers and index-form boxes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

VECTORS = Path(__file__).parents[1] / 'data' / 'nodulenet_vectors.json'


@cache
def vectors() -> dict:
    return json.loads(VECTORS.read_text())


def u(k: int, j: np.ndarray) -> np.ndarray:
    j = np.asarray(j, dtype=np.int64)
    value = 31 * j**2 + 7919 * j + 104729 * k + 17
    return (value % 65521) / 65520


def v(k: int, j: np.ndarray) -> np.ndarray:
    return 2 * u(k, j) - 1


def edges(zyxdhw: list | np.ndarray) -> torch.Tensor:
    """Index-form centre and size to edge boxes: the centre moves by 0.5."""
    box = np.asarray(zyxdhw, dtype=np.float64).reshape(-1, 6)
    center, half = box[:, :3] + 0.5, box[:, 3:] / 2
    return torch.from_numpy(np.concatenate([center - half, center + half], 1))


def index_form(boxes: torch.Tensor) -> np.ndarray:
    """The inverse of ``edges``."""
    boxes = boxes.detach().double().numpy()
    center = (boxes[:, :3] + boxes[:, 3:]) / 2 - 0.5
    return np.concatenate([center, boxes[:, 3:] - boxes[:, :3]], axis=1)


def published_entry(k: int, name: str, shape: list[int]) -> np.ndarray:
    """Values of the golden check's state dict entry ``k``."""
    j = np.arange(int(np.prod(shape)))
    if name.endswith('num_batches_tracked'):
        value = np.zeros(j.shape, dtype=np.int64)
    elif len(shape) >= 2:
        value = v(k, j) * np.sqrt(3 / np.prod(shape[1:]))
    elif name.endswith('running_var'):
        value = 1 + 0.5 * u(k, j)
    elif name.endswith(('running_mean', 'bias')):
        value = 0.1 * v(k, j)
    else:
        value = 1 + 0.1 * v(k, j)
    return value.reshape(shape)


def live_entries() -> list[tuple[int, str, list[int]]]:
    """Rows of the published state dict but for the layers never called."""
    dead = ('.up1.', 'back1.', 'logits2')
    rows = vectors()['state_dict']
    return [row for row in rows if not any(part in row[1] for part in dead)]


PARTS = {
    'feature_net': 'backbone',
    'rpn': 'rpn_head',
    'rcnn_head': 'roi_head.bbox_head',
    'mask_head': 'roi_head.mask_head',
}


def lungdet_name(name: str) -> str:
    """lungdet's name of a published parameter: the part differs alone."""
    part, _, rest = name.partition('.')
    return f'{PARTS[part]}.{rest}'


def filled_state() -> dict[str, torch.Tensor]:
    """The fill of the golden check, under lungdet's names."""
    return {
        lungdet_name(name): torch.from_numpy(published_entry(k, name, shape))
        for k, name, shape in live_entries()
    }


def golden_input() -> torch.Tensor:
    b, _, z, y, x = np.indices((2, 1, 32, 48, 64))
    value = 3 * z**2 + 5 * y**2 + 7 * x**2 + z * y + 2 * y * x + 11 * b + 1
    return torch.from_numpy((value % 251 - 125) / 128)


def mask_logits() -> torch.Tensor:
    """Logits of the vectors ``mask_loss``."""
    shape = tuple(vectors()['mask_loss']['shape'])
    return torch.from_numpy(4 * v(0, np.arange(np.prod(shape)))).view(shape)


def mask_labels(number: int) -> torch.Tensor:
    """Their label map, with a number in the target box."""
    stored = vectors()['mask_loss']
    labels = torch.zeros(tuple(stored['shape']), dtype=torch.uint8)
    z1, z2, y1, y2, x1, x2 = stored['target_box']
    labels[z1:z2, y1:y2, x1:x2] = number
    return labels


def check(tensor: torch.Tensor, wanted: dict, tol: float = 1e-9) -> None:
    """Compare a tensor with a stored checksum."""
    flat = tensor.detach().double().reshape(-1).numpy()
    assert list(tensor.shape) == wanted['shape']
    scale = wanted['abs_sum']
    assert abs(flat.sum() - wanted['sum']) <= tol * scale
    assert abs(np.abs(flat).sum() - scale) <= tol * scale
    np.testing.assert_allclose(
        flat[wanted['index']], wanted['value'], rtol=tol, atol=tol
    )
