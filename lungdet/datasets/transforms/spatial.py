"""Where a crop lies. Every transform changes one plan; one load applies it.

The plan is ``center`` and ``matrix``: output voxel j of a crop of n voxels
shows the case at index ``center + matrix @ (j - (n - 1) / 2)``. Image,
instance mask and boxes follow from the same plan, and voxels are read and
interpolated once. ``anchor`` is the case index that keeps its place in the
crop when the plan is turned or scaled: the nodule of a nodule sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from lungdet.registry import TRANSFORMS

LUNG_TRIES = 20  # points tried before a crop is placed anywhere


def turn_plan(results: dict, step: np.ndarray) -> None:
    """Append ``step`` to the plan; the anchor stays where it is seen."""
    matrix, anchor = results['matrix'], results['anchor']
    seen = np.linalg.solve(matrix, anchor - results['center'])
    results['matrix'] = matrix @ step
    results['center'] = anchor - results['matrix'] @ seen


@TRANSFORMS.register_module()
class PlaceCrop(BaseTransform):
    """Choose where the crop lies.

    A nodule sample holds its nodule with ``margin`` voxels to every face
    where that is possible; a lung sample is centred on a lung voxel; any
    other lies anywhere in the case.

    Args:
        size: Voxels of the crop (z, y, x), multiples of 16.
        margin: Voxels between nodule and face, wished for.

    Source: NoduleNet's crop rule (bound_size 12).
    """

    def __init__(self, size: Sequence[int], margin: int = 12) -> None:
        self.size = tuple(size)
        self.margin = margin

    def draw(self, results: dict) -> np.ndarray:
        """First voxel (z, y, x) of the crop, integers."""
        rng, record = results['rng'], results['record']
        size = np.array(self.size)
        if results['kind'] == 'nodule':
            box = np.array(record.nodules[results['nodule']].box)
            low = np.ceil(box[3:] + self.margin - size)
            high = np.floor(box[:3] - self.margin)
            middle = np.rint((box[:3] + box[3:] - size) / 2)
            low, high = (
                np.where(low > high, middle, v).astype(int)
                for v in (low, high)
            )
            return rng.integers(low, high + 1)
        shape = np.array(record.geometry.shape)
        if results['kind'] == 'lung':
            for _ in range(LUNG_TRIES):
                point = rng.integers(0, shape)
                region = tuple(slice(p, p + 1) for p in point)
                if (
                    results['store']
                    .read(record.series_uid, 'lungs', region)
                    .any()
                ):
                    return point - size // 2
        return rng.integers(
            np.minimum(0, shape - size), np.maximum(0, shape - size) + 1
        )

    def transform(self, results: dict) -> dict:
        results['crop_size'] = self.size
        results['center'] = self.draw(results) + (np.array(self.size) - 1) / 2
        results['matrix'] = np.eye(3)
        results['anchor'] = results['center']
        if results['kind'] == 'nodule':
            box = np.array(results['record'].nodules[results['nodule']].box)
            # a whole voxel, so that a transposed plan stays on the grid
            results['anchor'] = np.floor((box[:3] + box[3:]) / 2)
        return results


@TRANSFORMS.register_module()
class RandomFlip3D(BaseTransform):
    """Mirror axes, each with probability one half.

    Args:
        axes: Among 0, 1, 2 = z, y, x.
    """

    def __init__(self, axes: Sequence[int] = (0, 1, 2)) -> None:
        self.axes = tuple(axes)

    def draw(self, results: dict) -> np.ndarray:
        """+1 or -1 for each axis."""
        signs = np.ones(3)
        for axis in self.axes:
            signs[axis] = results['rng'].choice((-1, 1))
        return signs

    def transform(self, results: dict) -> dict:
        results['matrix'] = results['matrix'] @ np.diag(self.draw(results))
        return results


@TRANSFORMS.register_module()
class RandomTransposeXY(BaseTransform):
    """Swap the in-plane axes about the nodule, or the crop's middle.

    Args:
        prob: How often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def draw(self, results: dict) -> bool:
        """Whether to swap."""
        return results['rng'].random() < self.prob

    def transform(self, results: dict) -> dict:
        if self.draw(results):
            turn_plan(results, np.eye(3)[:, [0, 2, 1]])
        return results


@TRANSFORMS.register_module()
class RandomAffine3D(BaseTransform):
    """Scale, and turn about the long axis of the body.

    Both about the nodule of a nodule sample, which so keeps its place and
    its margin but for its own growth; about the middle of any other crop.

    Args:
        scale: Range of the magnification; above 1 the nodule grows.
        scale_prob: How often to scale.
        degrees: Largest angle about z, in the axial plane.
        rotate_prob: How often to turn.
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

    def draw(self, results: dict) -> tuple[float, float]:
        """Magnification and angle in radians."""
        rng = results['rng']
        factor, angle = 1.0, 0.0
        if rng.random() < self.scale_prob:
            factor = float(np.exp(rng.uniform(*np.log(self.scale))))
        if rng.random() < self.rotate_prob:
            angle = float(np.deg2rad(rng.uniform(-self.degrees, self.degrees)))
        return factor, angle

    def transform(self, results: dict) -> dict:
        factor, angle = self.draw(results)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        turn_plan(results, turn / factor)
        return results
