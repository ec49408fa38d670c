"""A synthetic chest: surfaces as distances, tubes as capsules, then noise.

Lengths are mm in a frame whose origin is the middle of the scan: x to the
patient's left, y to the back, z to the head. Edges are as soft as a scanner's
point spread; slices average over their thickness, so thin vessels are grey,
as small nodules are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lungdet.geometry import Geometry
from lungdet.hounsfield import HU_MAX

EDGE_MM = 1.2  # width of a blurred edge, in plane
MURRAY = 2.9  # exponent of branching radii, pulmonary arteries
LEAF_MM = 0.70  # radius of the thinnest drawn vessel
WALL_MM = (1.4, 1.2)  # airway walls, at the trunk's and at the tip's end
SLICE_CORRELATION = 0.115 * 2.5  # filter weight of noise along z, times mm
SUBSLICES = (-0.33, 0.0, 0.33)  # where a slice's profile is sampled


@dataclass(frozen=True)
class Body:
    """Sizes and tissues of one chest.

    Attributes:
        geometry: Grid of the scan.
        scale: Size relative to a grown man.
        height: Length of the lungs, mm.
        hu: HU of tissue by name.
        noise: Standard deviation in soft tissue once resampled to 1 mm, HU.
        smooth: Outer weight, in plane, of the three-tap filter that
            correlates the noise; 0 leaves it white.
    """

    geometry: Geometry
    scale: float
    height: float
    hu: dict[str, float]
    noise: float
    smooth: float


@dataclass
class Chest:
    """A chest before noise.

    Attributes:
        body: What it was made from.
        hu: float32 (z, y, x), noise-free.
        lungs: (z, y, x) float32, share of lung in a voxel.
        labels: uint8, 3 right, 4 left lung, 5 windpipe, as LUNA16's masks.
        vessels: (N, 7) branches of the trees: start, end (x, y, z mm) and
            radius.
        axes: Coordinates of the voxels along z, y, x in mm.
    """

    body: Body
    hu: np.ndarray
    lungs: np.ndarray
    labels: np.ndarray
    vessels: np.ndarray
    axes: tuple[np.ndarray, np.ndarray, np.ndarray] = field(repr=False)

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points x, y, z in the chest's frame to world mm."""
        z, y, x = self.axes
        return (
            points - np.array([x[0], y[0], z[0]]) + (self.body.geometry.origin)
        )


def draw_body(rng: np.random.Generator, size: str) -> Body:
    """Sizes, spacing, tissues and noise of a chest.

    Noise and its correlation are drawn together: sharp kernels are noisy and
    uncorrelated, smooth ones quiet and correlated.
    """
    if size == 'small':
        in_plane, thickness = rng.uniform(0.74, 0.9), rng.uniform(1.5, 2.5)
        scale, height = rng.uniform(0.78, 0.88), rng.uniform(108, 124)
    else:
        in_plane, thickness = rng.uniform(0.68, 0.9), rng.uniform(1.0, 2.5)
        scale, height = rng.uniform(0.92, 1.02), rng.uniform(200, 225)
    side = int(np.ceil(2 * 168 * scale / in_plane / 16)) * 16
    slices = int(np.ceil((height + 8) / thickness))
    origin = rng.uniform((-20, -20, -400), (20, 20, -200)) - np.array(
        [side * in_plane / 2, side * in_plane / 2, 0]
    )
    noise = float(np.exp(rng.uniform(np.log(9), np.log(57))))
    kernel = (0.17, 0.23) if noise < 20 else (0.0, 0.2)
    smooth = 0.0 if noise > 38 else float(rng.uniform(*kernel))
    contrast = float(rng.choice((0.0, 1.0))) * rng.uniform(60, 180)
    return Body(
        geometry=Geometry.from_parts(
            (slices, side, side),
            spacing_zyx=(thickness, in_plane, in_plane),
            origin_xyz=np.round(origin, 3),
        ),
        scale=scale,
        height=height,
        hu={
            'air': -1000.0,
            'lung': rng.uniform(-900, -835),
            'fat': rng.uniform(-112, -98),
            'soft': rng.uniform(38, 62),
            'blood': 45.0 + contrast,
            'marrow': rng.uniform(180, 320),
            'cortex': rng.uniform(600, 1000),
            'lumen': rng.uniform(-990, -950),
        },
        noise=noise,
        smooth=smooth,
    )


def make_chest(rng: np.random.Generator, size: str) -> Chest:
    """Draw and render a chest without nodules."""
    body = draw_body(rng, size)
    geometry = body.geometry
    axes = tuple(
        (np.arange(n) - (n - 1) / 2) * step
        for n, step in zip(geometry.shape, geometry.spacing)
    )
    hu = np.empty(geometry.shape, dtype=np.float32)
    lungs = np.zeros(geometry.shape, dtype=np.float32)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    shape = _draw_shape(rng, body)
    single = tuple(axis.astype(np.float32) for axis in axes)
    hu[:] = _body_wall(single, body, shape)
    for k, z in enumerate(axes[0].tolist()):
        _render_slice(hu[k], lungs[k], labels[k], z, single, body, shape)
    chest = Chest(body, hu, lungs, labels, np.zeros((0, 7)), axes)
    _texture(rng, chest)
    _ribs(chest, shape)
    _vessels(rng, chest, shape)
    _airways(chest, shape)
    return chest


def add_noise(rng: np.random.Generator, chest: Chest) -> np.ndarray:
    """int16 HU with correlated noise, stronger in the lungs."""
    body = chest.body
    noise = rng.standard_normal(chest.hu.shape, dtype=np.float32)
    along_z = min(SLICE_CORRELATION / body.geometry.spacing[0], 0.25)
    kept = 1.0  # share of the variance that survives resampling to 1 mm
    for axis, weight in enumerate((along_z, body.smooth, body.smooth)):
        noise = _three_tap(noise, axis, weight)
        neighbour = 2 * weight * (1 - 2 * weight)
        neighbour /= 2 * weight**2 + (1 - 2 * weight) ** 2
        kept *= (2 + neighbour) / 3
    gain = np.float32(body.noise / np.sqrt(kept) / noise[::3].std())
    noise *= gain * (1 + np.float32(0.35) * chest.lungs)
    noise += chest.hu
    outside = chest.axes[1][:, None] ** 2 + chest.axes[2][None, :] ** 2
    noise[:, outside > chest.axes[1][-1] ** 2] = -2000  # field of view
    return np.clip(np.rint(noise, out=noise), -2048, HU_MAX).astype(np.int16)


def _three_tap(x: np.ndarray, axis: int, weight: float) -> np.ndarray:
    """Filter with (weight, 1 - 2 weight, weight) along one axis."""
    if weight == 0:
        return x
    out = np.float32(1 - 2 * weight) * x
    low = [slice(None)] * 3
    high = [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    out[tuple(low)] += np.float32(weight) * x[tuple(high)]
    out[tuple(high)] += np.float32(weight) * x[tuple(low)]
    return out


def _draw_shape(rng: np.random.Generator, body: Body) -> dict[str, float]:
    """Sizes in mm that vary from person to person."""
    s = body.scale
    return {
        'a': 158 * s * rng.uniform(0.96, 1.04),
        'b': 108 * s * rng.uniform(0.95, 1.05),
        'fat': 12 * s * rng.uniform(0.7, 1.6),
        'lung_x': 73 * s,
        'lung_a': 54 * s * rng.uniform(0.96, 1.04),
        'lung_b': 77 * s * rng.uniform(0.95, 1.05),
        'heart_x': 22 * s * rng.uniform(0.8, 1.2),
        'heart_r': 50 * s * rng.uniform(0.9, 1.1),
        'dome': rng.uniform(0.22, 0.3) * body.height,
        'spine_y': 62 * s,
        'phase': rng.uniform(0, 1),
    }


def _soft(distance: np.ndarray, width: float = EDGE_MM) -> np.ndarray:
    """Share of a voxel inside a surface at signed ``distance`` (< 0 in)."""
    return np.clip(0.5 - distance / width, 0, 1)


def _ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    """About the signed distance to an ellipse, exact on its surface."""
    return (np.sqrt((x / a) ** 2 + (y / b) ** 2) - 1) * min(a, b)


def _heart_cap(z: float, body: Body) -> float:
    """Radius of the heart at a height, of its largest; 0 beyond its ends."""
    rise = (z + 0.18 * body.height) / (0.40 * body.height)
    cap = math.sqrt(max(1 - rise**2, 0.0))
    return cap if cap > 0.05 else 0.0


def _lung_distance(
    x: np.ndarray,
    y: np.ndarray,
    z: float,
    body: Body,
    shape: dict[str, float],
    side: int,
) -> np.ndarray:
    """Signed distance to the right (-1) or left (+1) lung's surface."""
    rise = (z + body.height / 2) / body.height  # 0 at the base, 1 at the apex
    width = math.sqrt(min(max(1 - max(rise, 0.0) ** 3.2, 1e-3), 1.0))
    a = shape['lung_a'] * (0.35 + 0.65 * width)
    b = shape['lung_b'] * (0.30 + 0.70 * width)
    center = side * (shape['lung_x'] - 14 * (1 - width))
    distance = _ellipse(x - center, y - 4, a, b)
    dome = shape['dome'] * (1.0 if side < 0 else 0.85)
    floor = -body.height / 2 + dome * np.clip(
        1 - ((x - center) / (1.3 * a)) ** 2 - ((y + 15) / (1.2 * b)) ** 2,
        0,
        1,
    )
    distance = np.maximum(distance, floor - z)
    cap = _heart_cap(z, body)
    if cap > 0:
        radius = shape['heart_r'] * cap
        heart = _ellipse(x - shape['heart_x'], y + 22, radius, 0.85 * radius)
        distance = np.maximum(distance, -heart)
    middle = 17 * body.scale + 3 * np.cos(y / 14)
    return np.maximum(distance, middle - side * x)


def _blend_ellipse(
    plane: np.ndarray,
    axes: tuple[np.ndarray, ...],
    ellipse: tuple[float, float, float, float],
    value: float,
    *,
    width: float = EDGE_MM,
    inset: float = 0.0,
    wall: float | None = None,
) -> None:
    """Blend a filled ellipse into a slice.

    Args:
        plane: HU (y, x), changed in place.
        axes: Coordinates along z, y, x in mm.
        ellipse: Centre x and y, half axes along x and y, mm.
        value: Its HU.
        width: Of the soft edge, mm.
        inset: How far inside the edge it ends, mm.
        wall: Thickness of a ring, mm; None fills it.
    """
    x0, y0, a, b = ellipse
    reach = 1 + width / min(a, b)
    rows, columns = (
        slice(*np.searchsorted(axis, (c - reach * r, c + reach * r)))
        for axis, c, r in ((axes[1], y0, b), (axes[2], x0, a))
    )
    distance = inset + _ellipse(
        axes[2][None, columns] - x0, axes[1][rows, None] - y0, a, b
    )
    if wall is not None:
        distance = np.maximum(distance, -(distance + wall))
    part = plane[rows, columns]
    part += _soft(distance, width) * (value - part)


def _body_wall(
    axes: tuple[np.ndarray, ...], body: Body, shape: dict[str, float]
) -> np.ndarray:
    """Fat, muscle and mediastinal fat: the same in every slice."""
    y, x = axes[1][:, None], axes[2][None, :]
    skin = _ellipse(x, y, shape['a'], shape['b'])
    lobes = 5 * np.cos(6 * np.arctan2(y, x)) * body.scale
    plane = np.full(skin.shape, body.hu['air'], dtype=np.float32)
    plane += _soft(skin) * (body.hu['fat'] - plane)
    muscle = _soft(skin + shape['fat'] + lobes, 3.0)
    plane += muscle * (body.hu['soft'] - plane)
    middle = (0.0, -5.0, 26 * body.scale, 60 * body.scale)
    _blend_ellipse(plane, axes, middle, body.hu['fat'], width=8.0)
    return plane


def _render_slice(
    hu: np.ndarray,
    lungs: np.ndarray,
    labels: np.ndarray,
    z: float,
    axes: tuple[np.ndarray, ...],
    body: Body,
    shape: dict[str, float],
) -> None:
    """Mediastinum, spine and lungs of one slice, into its body wall."""
    s, tissue = body.scale, body.hu

    def put(
        x: float, y: float, a: float, b: float, value: float, **options: float
    ) -> None:
        _blend_ellipse(hu, axes, (x, y, a, b), value, **options)

    cap = _heart_cap(z, body)
    if cap > 0:
        radius = shape['heart_r'] * cap
        put(
            shape['heart_x'],
            -22,
            radius - 2,
            0.85 * radius - 2,
            tissue['blood'] - 8,
            width=2.0,
        )
    put(16 * s, 38 * s, 11, 11, tissue['blood'])
    put(-14 * s, -16, 9, 10, tissue['blood'])
    put(3, 24 * s, 7, 5, tissue['soft'])
    spine = (0.0, shape['spine_y'], 17 * s, 15 * s)
    disc = ((z / 26 + shape['phase']) % 1) < 0.22
    put(*spine, tissue['soft'] + 25 if disc else tissue['cortex'] * 0.8)
    if not disc:
        put(*spine, tissue['marrow'], inset=1.8)
    put(0, shape['spine_y'] + 22 * s, 14, 9, tissue['cortex'] * 0.7, wall=5)
    put(0, shape['fat'] + 15 - shape['b'], 15, 5, tissue['marrow'] * 0.8)
    for side in (-1, 1):
        distance = _lung_distance(
            axes[2][None, :], axes[1][:, None], z, body, shape, side
        )
        alpha = _soft(distance)
        hu += alpha * (tissue['lung'] - hu)
        np.maximum(lungs, alpha, out=lungs)
        labels[alpha > 0.5] = 3 if side < 0 else 4


def _texture(rng: np.random.Generator, chest: Chest) -> None:
    """Slow variation of the parenchyma: gravity and blotches."""
    z, y, _ = chest.axes
    coarse = rng.normal(
        0,
        1,
        tuple(
            max(2, int(n * s / 14)) + 2
            for n, s in zip(chest.hu.shape, chest.body.geometry.spacing)
        ),
    ).astype(np.float32)
    field = coarse
    for axis, n in enumerate(chest.hu.shape):
        place = np.linspace(0, field.shape[axis] - 1.001, n)
        low = place.astype(int)
        share = (place - low).astype(np.float32)
        share = share.reshape([-1 if a == axis else 1 for a in range(3)])
        field = (
            np.take(field, low, axis) * (1 - share)
            + np.take(field, low + 1, axis) * share
        )
    slope = (25 * y / abs(y[-1])).astype(np.float32)[None, :, None]
    field *= np.float32(rng.uniform(50, 74))
    field += slope
    field *= chest.lungs
    chest.hu += field


def capsule(
    chest: Chest,
    start: np.ndarray,
    stop: np.ndarray,
    r0: float,
    r1: float,
) -> tuple[tuple[slice, slice, slice], np.ndarray] | None:
    """Region and signed distance to a round-ended tube, slice-averaged.

    Args:
        chest: Its grid.
        start: One end, x, y, z mm.
        stop: The other end.
        r0: Radius there, mm.
        r1: Radius at ``stop``.

    Returns:
        Slices of the touched region and, for each of ``SUBSLICES``, the
        signed distance: (3, d, h, w). None outside the scan.
    """
    reach = max(r0, r1) + EDGE_MM
    thick = chest.body.geometry.spacing[0]
    region, local = [], []
    for axis, world in enumerate((2, 1, 0)):
        coordinates = chest.axes[axis]
        extra = reach + (thick / 2 if axis == 0 else 0)
        first = np.searchsorted(
            coordinates, min(start[world], stop[world]) - extra
        )
        last = np.searchsorted(
            coordinates, max(start[world], stop[world]) + extra
        )
        if first >= last:
            return None
        region.append(slice(int(first), int(last)))
        local.append(coordinates[first:last])
    z = local[0][None] + np.array(SUBSLICES)[:, None] * thick
    z = z[:, :, None, None] - start[2]
    y = local[1][None, None, :, None] - start[1]
    x = local[2][None, None, None, :] - start[0]
    along = stop - start
    length2 = max(float(along @ along), 1e-9)
    t = np.clip((x * along[0] + y * along[1] + z * along[2]) / length2, 0, 1)
    distance = np.sqrt(
        (x - t * along[0]) ** 2
        + (y - t * along[1]) ** 2
        + (z - t * along[2]) ** 2
    )
    a, b, c = region
    return (a, b, c), distance - (r0 + t * (r1 - r0))


def draw_tube(
    chest: Chest,
    start: np.ndarray,
    stop: np.ndarray,
    *,
    radii: tuple[float, float],
    value: float,
    only_lung: bool = False,
) -> None:
    """Blend a tube of HU ``value`` into the chest."""
    found = capsule(chest, start, stop, *radii)
    if found is None:
        return
    region, distance = found
    alpha = _soft(distance).mean(0)
    if only_lung:
        alpha = alpha * chest.lungs[region]
    part = chest.hu[region]
    part += (alpha * (value - part)).astype(np.float32)


def _ribs(chest: Chest, shape: dict[str, float]) -> None:
    """Sloping arcs of bone in the chest wall."""
    body = chest.body
    a = shape['lung_x'] + shape['lung_a'] + 6 * body.scale
    b = shape['lung_b'] + 10 * body.scale
    angles = np.linspace(-0.42 * np.pi, 0.46 * np.pi, 17)
    top = body.height / 2 + 60
    for z0 in np.arange(-body.height / 2 - 20, top, 24 * body.scale):
        for side in (-1, 1):
            points = np.stack(
                [
                    side * a * np.cos(angles),
                    b * np.sin(angles),
                    z0 + 28 * np.sin(angles) * body.scale,
                ],
                axis=1,
            )
            for p, q in zip(points[:-1], points[1:]):
                if min(p[2], q[2]) > chest.axes[0][-1] + 10:
                    continue
                radius = 4.6 * body.scale
                draw_tube(
                    chest,
                    p,
                    q,
                    radii=(radius, radius),
                    value=body.hu['cortex'] * 0.85,
                )
                draw_tube(
                    chest,
                    p,
                    q,
                    radii=(radius - 1.7, radius - 1.7),
                    value=body.hu['marrow'] * 0.8,
                )


def lung_points(
    rng: np.random.Generator, chest: Chest, num: int, label: int
) -> np.ndarray:
    """Random points (num, 3) x, y, z mm inside a lung; jittered in voxels."""
    inside = np.flatnonzero((chest.labels == label).ravel())
    if not len(inside):
        return np.zeros((0, 3))
    chosen = rng.choice(inside, num)
    voxels = np.stack(np.unravel_index(chosen, chest.labels.shape), axis=1)
    index = voxels + rng.uniform(-0.5, 0.5, voxels.shape)
    spacing = chest.body.geometry.spacing
    first = np.array([axis[0] for axis in chest.axes])
    return (first + index * spacing)[:, ::-1]


def _vessels(
    rng: np.random.Generator, chest: Chest, shape: dict[str, float]
) -> None:
    """A tree for each lung that fills it; radii by Murray's law."""
    body = chest.body
    branches = [chest.vessels]
    per_litre = rng.uniform(460, 650)
    voxel_l = float(np.prod(body.geometry.spacing)) / 1e6
    for label, side in ((3, -1), (4, 1)):
        litres = float((chest.labels == label).sum()) * voxel_l
        root = np.array([side * 24 * body.scale, 6.0, -0.02 * body.height])
        points = lung_points(rng, chest, int(per_litre * litres), label)
        if not len(points):
            continue
        tree, parent = grow_tree(root, points)
        thick = murray_radii(parent)[1:, None]
        branches.append(np.hstack([tree[parent[1:]], tree[1:], thick]))
    chest.vessels = np.concatenate(branches)
    for branch in chest.vessels:
        _vessel(rng, chest, branch[:3], branch[3:6], branch[6])


def _vessel(
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
        draw_tube(
            chest,
            p,
            q,
            radii=(radius, radius),
            value=chest.body.hu['blood'],
            only_lung=True,
        )


def grow_tree(
    root: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Connect points to the nearest part of a tree, the nearest first.

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
    """Radii (N,) mm: each parent's power is the sum of its children's."""
    power = np.zeros(len(parent))
    leaf = LEAF_MM**MURRAY
    for child in range(len(parent) - 1, 0, -1):
        if power[child] == 0:
            power[child] = leaf
        power[parent[child]] += power[child]
    return np.minimum(power ** (1 / MURRAY), 6.5)


def _airways(chest: Chest, shape: dict[str, float]) -> None:
    """Windpipe, main bronchi and their next branches, with walls."""
    body = chest.body
    s, top = body.scale, chest.axes[0][-1] + 10
    carina = np.array([0.0, -2.0, 0.12 * body.height])
    tubes = [(np.array([0.0, -6.0, top]), carina, 8.0 * s)]
    for side in (-1, 1):
        hilum = np.array([side * 26 * s, 8.0, 0.0])
        tubes.append((carina, hilum, 5.5 * s))
        for dy, dz in ((-30, 22), (24, -34), (-14, -30), (22, 20)):
            tip = hilum + np.array([side * 28 * s, dy * s, dz * s])
            tubes.append((hilum, tip, 2.6 * s))
    wall = body.hu['soft'] - 20
    for start, stop, radius in tubes:
        draw_tube(
            chest,
            start,
            stop,
            radii=(radius + WALL_MM[0], 0.7 * radius + WALL_MM[1]),
            value=wall,
        )
    for start, stop, radius in tubes:
        draw_tube(
            chest,
            start,
            stop,
            radii=(radius, 0.7 * radius),
            value=body.hu['lumen'],
        )
    found = capsule(chest, *tubes[0][:2], tubes[0][2], tubes[0][2])
    if found is not None:
        region, distance = found
        chest.labels[region][distance[1] < 0] = 5
