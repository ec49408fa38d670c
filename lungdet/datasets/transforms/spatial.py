"""Placement of crops: each transform maps a crop grid, which is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungdet.datasets.crop_grid import CropGrid
from lungdet.datasets.reading import draw_lung_voxel
from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.errors import ConfigError
from lungdet.registry import TRANSFORMS

LUNG_TRIES = 20  # voxels tried before a lung crop is placed anywhere
SWAP_XY = np.eye(3)[:, [0, 2, 1]]


@dataclass(frozen=True)
class PlaceCropParams:
    """A crop of a case.

    Attributes:
        start: Its first voxel (z, y, x) in the case, may be negative.
        size: Its voxels (z, y, x).
    """

    start: Sequence[int]
    size: Sequence[int]


@TRANSFORMS.register_module()
class PlaceCrop(Transform[PlaceCropParams]):
    """Choose the position of the crop.

    A nodule sample contains its nodule with ``margin`` voxels to every face if
    possible, a mined one its false mark; a lung sample, and one for inserted
    nodules, is centred on a lung voxel; any other is anywhere in the case.

    Args:
        size: Voxels of the crop (z, y, x), multiples of 16.
        margin: Voxels between nodule and faces, if the crop is large enough.
        clip: Move a crop that leaves the case back to its border, as test
            windows are placed; along an axis where the case is smaller, the
            crop covers it. Nodules at the border then lose their margin.
        late_size: Voxels of the crops in later epochs, None for ``size``.
        late_epoch: The first of these epochs, counted from 1 as in
            ``start_epoch``.

    Raises:
        ConfigError: One of the last two without the other.

    Source: NoduleNet's crop rule (bound_size 12), which pads instead.
    """

    def __init__(
        self,
        size: Sequence[int],
        margin: int = 12,
        *,
        clip: bool = False,
        late_size: Sequence[int] | None = None,
        late_epoch: int | None = None,
    ) -> None:
        if (late_size is None) != (late_epoch is None):
            raise ConfigError(
                f'PlaceCrop: late_size is {late_size} and late_epoch '
                f'{late_epoch}; give both, or neither.'
            )
        self.size = tuple(size)
        self.margin = margin
        self.clip = clip
        self.late_size = None if late_size is None else tuple(late_size)
        self.late_epoch = late_epoch

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> PlaceCropParams:
        size = self._size_in(sample.get('epoch', 0))
        nodule, mark_box = sample['nodule'], sample.get('mark_box')
        if nodule is not None:
            start = self._around(rng, nodule.box, size)
        elif mark_box is not None:
            start = self._around(rng, mark_box, size)
        elif sample['kind'] in ('lung', 'inserted'):
            start = self._in_lungs(rng, sample, size)
        else:
            start = self._anywhere(rng, sample, size)
        if self.clip:
            start = start.clip(*_inside_range(sample, size))
        return PlaceCropParams(tuple(start.tolist()), size)

    def _size_in(self, epoch: int) -> tuple[int, ...]:
        """The crop's voxels in an epoch, counted from 0."""
        if self.late_size is None or self.late_epoch is None:
            return self.size
        return self.late_size if epoch + 1 >= self.late_epoch else self.size

    def _around(
        self,
        rng: np.random.Generator,
        edges: Sequence[float],
        sides: Sequence[int],
    ) -> np.ndarray:
        size, box = np.array(sides), np.array(edges)
        low = np.ceil(box[3:] + self.margin - size)
        high = np.floor(box[:3] - self.margin)
        middle = np.rint((box[:3] + box[3:] - size) / 2)
        no_room = low > high
        low = np.where(no_room, middle, low).astype(int)
        high = np.where(no_room, middle, high).astype(int)
        return rng.integers(low, high + 1)

    def _in_lungs(
        self, rng: np.random.Generator, sample: Sample, size: Sequence[int]
    ) -> np.ndarray:
        store, record = sample['store'], sample['record']
        voxel = draw_lung_voxel(rng, store, record, LUNG_TRIES)
        if voxel is None:
            return self._anywhere(rng, sample, size)
        return voxel - np.array(size) // 2

    def _anywhere(
        self, rng: np.random.Generator, sample: Sample, size: Sequence[int]
    ) -> np.ndarray:
        first, last = _inside_range(sample, size)
        return rng.integers(first, last + 1)

    def apply(self, sample: Sample, params: PlaceCropParams) -> Sample:
        record, nodule = sample['record'], sample['nodule']
        geometry = record.geometry.crop(params.start, params.size)
        if nodule is None:
            grid = CropGrid.of_background(geometry)
        else:
            grid = CropGrid.around_nodule(geometry, record, nodule)
        return {**sample, 'crop_grid': grid}


def _inside_range(
    sample: Sample, size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """First and last start (3,) of a crop inside or around the case."""
    room = np.array(sample['record'].geometry.shape) - size
    return np.minimum(0, room), np.maximum(0, room)


@dataclass(frozen=True)
class FlipParams:
    """Axes to mirror, one after the other; 0, 1, 2 = z, y, x."""

    axes: Sequence[int]


@TRANSFORMS.register_module()
class RandomFlip3D(Transform[FlipParams]):
    """Mirror axes, each with probability one half.

    Args:
        axes: Among 0, 1, 2 = z, y, x.
    """

    def __init__(self, axes: Sequence[int] = (0, 1, 2)) -> None:
        self.axes = tuple(axes)

    def draw(self, rng: np.random.Generator, sample: Sample) -> FlipParams:
        return FlipParams(
            tuple(axis for axis in self.axes if rng.choice((-1, 1)) < 0)
        )

    def apply(self, sample: Sample, params: FlipParams) -> Sample:
        return {**sample, 'crop_grid': sample['crop_grid'].flip(params.axes)}


@dataclass(frozen=True)
class TransposeParams:
    """Whether to swap y and x."""

    swap: bool


@TRANSFORMS.register_module()
class RandomTransposeXY(Transform[TransposeParams]):
    """Swap the in-plane axes about the nodule or the crop's centre.

    Args:
        prob: How often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> TransposeParams:
        return TransposeParams(rng.random() < self.prob)

    def apply(self, sample: Sample, params: TransposeParams) -> Sample:
        if not params.swap:
            return sample
        return {**sample, 'crop_grid': sample['crop_grid'].warp(SWAP_XY)}


@dataclass(frozen=True)
class AffineParams:
    """Magnification, and angle about z in radians."""

    magnification: float = 1.0
    angle: float = 0.0


@TRANSFORMS.register_module()
class RandomAffine3D(Transform[AffineParams]):
    """Scale, and rotate about the long axis of the body.

    Both are about the nodule of a nodule sample, which stays in place and
    loses only as much margin as it grows; in any other crop, about the centre.

    Args:
        scale: Range of the magnification; above 1 the nodule grows.
        scale_prob: Probability of scaling.
        degrees: Largest angle about z, in the axial plane.
        rotate_prob: Probability of rotating.
    """

    def __init__(
        self,
        scale: Sequence[float] = (0.75, 1.3),
        scale_prob: float = 0.4,
        *,
        degrees: float = 25.0,
        rotate_prob: float = 0.2,
    ) -> None:
        self.scale = tuple(scale)
        self.scale_prob = scale_prob
        self.degrees = degrees
        self.rotate_prob = rotate_prob

    def draw(self, rng: np.random.Generator, sample: Sample) -> AffineParams:
        magnification, angle = 1.0, 0.0
        if rng.random() < self.scale_prob:
            magnification = float(np.exp(rng.uniform(*np.log(self.scale))))
        if rng.random() < self.rotate_prob:
            angle = float(np.deg2rad(rng.uniform(-self.degrees, self.degrees)))
        return AffineParams(magnification, angle)

    def apply(self, sample: Sample, params: AffineParams) -> Sample:
        if params == AffineParams():
            return sample
        cos, sin = np.cos(params.angle), np.sin(params.angle)
        turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        grid = sample['crop_grid'].warp(turn / params.magnification)
        return {**sample, 'crop_grid': grid}
