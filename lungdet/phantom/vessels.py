"""Pulmonary vessels: trees that fill the lungs, radii by Murray's law."""

from __future__ import annotations

import numpy as np

from lungdet.phantom.chest import LEFT_LUNG, RIGHT_LUNG, Chest

MURRAY = 2.9  # exponent of branching radii, pulmonary arteries
LEAF_MM, TRUNK_MM = 0.70, 6.5  # radii of the thinnest and thickest vessel
PER_LITRE = (460, 650)  # branches, drawn once per chest


def add_vessels(rng: np.random.Generator, chest: Chest) -> None:
    """Grow a tree in each lung and blend it into the chest."""
    body = chest.body
    branches = [chest.vessels]
    per_litre = rng.uniform(*PER_LITRE)
    voxel_l = float(np.prod(body.geometry.spacing)) / 1e6
    for label, side in ((RIGHT_LUNG, -1), (LEFT_LUNG, 1)):
        litres = float((chest.labels == label).sum()) * voxel_l
        root = np.array([side * 24 * body.scale, 6.0, -0.02 * body.height])
        points = chest.lung_points(rng, int(per_litre * litres), label)
        if not len(points):
            continue
        nodes, parent = grow_tree(root, points)
        radii = murray_radii(parent)[1:, None]
        branches.append(np.hstack([nodes[parent[1:]], nodes[1:], radii]))
    chest.vessels = np.concatenate(branches)
    for branch in chest.vessels:
        _draw_branch(rng, chest, branch[:3], branch[3:6], branch[6])


def _draw_branch(
    rng: np.random.Generator,
    chest: Chest,
    start: np.ndarray,
    stop: np.ndarray,
    radius: float,
) -> None:
    """One branch, slightly bent."""
    length = float(np.linalg.norm(stop - start))
    middle = (start + stop) / 2 + rng.normal(0, 0.06 * length, 3)
    for p, q in ((start, middle), (middle, stop)):
        chest.add_tube(
            p,
            q,
            radii=(radius, radius),
            value=chest.body.hu.blood,
            only_lung=True,
        )


def grow_tree(
    root: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Connect points to the nearest part of a tree, the nearest first.

    Args:
        root: Where the tree starts, (3,).
        points: (N - 1, 3), the later nodes.

    Returns:
        Nodes (N, 3), the root first, and the parent index of each (N,).
    """
    order = np.argsort(np.linalg.norm(points - root, axis=1))
    nodes = np.empty((len(points) + 1, 3))
    nodes[0] = root
    parent = np.zeros(len(points) + 1, dtype=int)
    depth = np.zeros(len(points) + 1)
    for number, point in enumerate(points[order], start=1):
        gap = nodes[:number] - point
        distance = np.sqrt(np.einsum('ij,ij->i', gap, gap))
        # a little of the path length too, so that trunks run straight
        parent[number] = int((distance + 0.25 * depth[:number]).argmin())
        depth[number] = depth[parent[number]] + distance[parent[number]]
        nodes[number] = point
    return nodes, parent


def murray_radii(parent: np.ndarray) -> np.ndarray:
    """Radii (N,) mm: each parent's power is the sum of its children's.

    Args:
        parent: Index (N,) of each node's parent, below the node's own.

    Source: Murray 1926, with an exponent measured on pulmonary arteries.
    """
    power = np.zeros(len(parent))
    leaf = LEAF_MM**MURRAY
    for child in range(len(parent) - 1, 0, -1):
        if power[child] == 0:
            power[child] = leaf
        power[parent[child]] += power[child]
    return np.minimum(power ** (1 / MURRAY), TRUNK_MM)
