"""A synthetic chest from its sizes: surfaces as distances, tubes, texture."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from lungdet.phantom.airways import add_airways
from lungdet.phantom.body import Body, ChestShape, draw_body, draw_shape
from lungdet.phantom.chest import Chest
from lungdet.phantom.conditions import add_conditions, changed_shape
from lungdet.phantom.noise import parenchyma_texture
from lungdet.phantom.ribs import add_ribs
from lungdet.phantom.slices import body_wall, render_slice
from lungdet.phantom.vessels import add_vessels


def make_chest(
    rng: np.random.Generator, size: str, conditions: Collection[str] = ()
) -> Chest:
    """Draw and render a chest without nodules and without noise.

    Args:
        rng: Source of the draws.
        size: As ``draw_body``.
        conditions: Names of ``lungdet.phantom.conditions``.
    """
    body = draw_body(rng, size)
    shape = changed_shape(draw_shape(rng, body), conditions)
    chest = render_slices(body, shape)
    chest.hu += parenchyma_texture(rng, chest)
    add_ribs(chest, shape)
    add_vessels(rng, chest)
    add_airways(chest)
    add_conditions(chest, shape, conditions)
    return chest


def render_slices(body: Body, shape: ChestShape) -> Chest:
    """Everything that is drawn slice by slice, that is, all except tubes."""
    size = body.geometry.shape
    z, y, x = (
        (np.arange(n) - (n - 1) / 2) * step
        for n, step in zip(size, body.geometry.spacing)
    )
    rows, columns = y.astype(np.float32), x.astype(np.float32)
    wall = body_wall(rows, columns, body, shape)
    chest = Chest(
        body,
        hu=np.empty(size, dtype=np.float32),
        lungs=np.empty(size, dtype=np.float32),
        labels=np.empty(size, dtype=np.uint8),
        axes=(z, y, x),
    )
    for k, height in enumerate(z.tolist()):
        one = render_slice(wall, height, rows, columns, body, shape)
        chest.hu[k], chest.lungs[k] = one.hu, one.lungs
        chest.labels[k] = one.labels
    return chest
