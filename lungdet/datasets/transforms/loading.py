"""Read a case or a crop of it, with its targets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from lungdet.data_sample import MIN_INSIDE
from lungdet.datasets.reading import read_hu, read_mask
from lungdet.datasets.transforms.base import FixedTransform, NoParams, Sample
from lungdet.errors import ConfigError
from lungdet.geometry import (
    UNKNOWN_DIAMETER_MM,
    Geometry,
    boxes_touching,
    move_boxes,
    points_in_spheres,
)
from lungdet.io.luna16 import read_candidates
from lungdet.ops import centers_inside
from lungdet.registry import TRANSFORMS
from lungdet.structures import CaseNodule, CaseRecord


@TRANSFORMS.register_module()
class LoadCrop(FixedTransform):
    """Read the crop's grid: image, instance mask, boxes, ignored regions.

    Only the chunks the crop touches are read. Flips and transpositions are
    exact; any other grid is resampled once, linear for the image (float32),
    nearest for the instance mask.

    A nodule whose centre is closer than ``min_inside`` voxels to a face
    becomes an ignored region. So do excluded findings, except those at a
    nodule (nearly every nodule has one).

    Args:
        pad_hu: HU outside the case.
        min_inside: Voxels between the centre of a target nodule and the
            faces; ``load_config`` hands it to the model's validation.
    """

    def __init__(
        self, pad_hu: int = 0, min_inside: float = MIN_INSIDE
    ) -> None:
        self.pad_hu = pad_hu
        self.min_inside = min_inside

    def apply(self, sample: Sample, params: NoParams) -> Sample:
        store, record = sample['store'], sample['record']
        geometry = sample['crop_grid'].geometry
        mask = read_mask(store, record, geometry)
        moved = [
            move_boxes(np.array(nodule.box), record.geometry, geometry)[0]
            for nodule in record.nodules
        ]
        is_target = centers_inside(
            torch.from_numpy(stack_boxes(moved)),
            geometry.shape,
            self.min_inside,
        ).numpy()
        boxes = stack_boxes(
            [
                self.target_box(nodule, box, mask)
                for nodule, box in zip(record.nodules, moved)
            ]
        )
        cut = boxes[~is_target]
        cut = cut[boxes_touching(cut, geometry.shape)]
        return {
            **sample,
            'geometry': geometry,
            'image': read_hu(store, record, geometry, pad_hu=self.pad_hu),
            'mask': mask,
            'gt_nodules': list(itertools.compress(record.nodules, is_target)),
            'gt_boxes': boxes[is_target],
            'ignored_boxes': np.concatenate(
                [cut, excluded_boxes(record, geometry)]
            ),
        }

    def target_box(
        self, nodule: CaseNodule, box: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        """The target box (6,) of a nodule, in the crop's voxels.

        Args:
            nodule: The nodule.
            box: Its own (6,): the cube of the LUNA16 diameter, or the box it
                was annotated with.
            mask: (D, H, W) nodule ids of the crop.
        """
        return box


def stack_boxes(boxes: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """Boxes as (N, 6) float64, also if there are none."""
    return np.array(boxes, dtype=np.float64).reshape(-1, 6)


def excluded_boxes(record: CaseRecord, geometry: Geometry) -> np.ndarray:
    """Boxes of a case's excluded findings, except those at a nodule.

    Args:
        record: The case.
        geometry: Grid of an array, that of the case or of a crop.

    Returns:
        Edge boxes (M, 6) of those that touch the array.
    """
    if not record.excluded:
        return np.zeros((0, 6))
    centers = np.array([f.center_mm for f in record.excluded])
    diameters = np.array(
        [f.diameter_mm or UNKNOWN_DIAMETER_MM for f in record.excluded]
    )
    at_nodule = points_in_spheres(
        np.array([n.center_mm for n in record.nodules]),
        np.array([n.diameter_mm for n in record.nodules]),
        centers,
    ).any(0)
    boxes = geometry.sphere_box(centers, diameters)
    return boxes[boxes_touching(boxes, geometry.shape) & ~at_nodule]


@TRANSFORMS.register_module()
class LoadCase(FixedTransform):
    """Read a whole case, for validation and test.

    Args:
        targets: Also load boxes, masks and excluded findings, so that the
            model can report the training's losses.
        lung_margin_mm: Detections farther outside the case's lungs are
            dropped; None keeps all of them, as published figures do.

    Raises:
        ConfigError: A margin that is not a distance.
    """

    def __init__(
        self, targets: bool = False, lung_margin_mm: float | None = None
    ) -> None:
        if lung_margin_mm is not None and not 0 <= lung_margin_mm < np.inf:
            raise ConfigError(
                f'LoadCase.lung_margin_mm: {lung_margin_mm}; give mm, 0 or '
                'more, or None.'
            )
        self.targets = targets
        self.lung_margin_mm = lung_margin_mm

    def apply(self, sample: Sample, params: NoParams) -> Sample:
        store, record = sample['store'], sample['record']
        loaded: Sample = {
            **sample,
            'geometry': record.geometry,
            'image': store.read(record.series_uid, 'image'),
        }
        if self.lung_margin_mm is not None:
            loaded['lungs'] = store.read(record.series_uid, 'lungs') > 0
            loaded['lung_margin'] = self.lung_margin_mm / record.spacing_mm
        if not self.targets:
            return loaded
        return {
            **loaded,
            'mask': read_mask(store, record, record.geometry),
            'gt_nodules': list(record.nodules),
            'gt_boxes': stack_boxes([n.box for n in record.nodules]),
            'ignored_boxes': excluded_boxes(record, record.geometry),
        }


@TRANSFORMS.register_module()
class LoadCandidates(FixedTransform):
    """Add given positions of a whole case, to be scored by the model.

    Args:
        path: A csv with seriesuid, coordX, coordY and coordZ in world mm.
        diameter_mm: Side of the box around each position.

    Raises:
        LungdetError: The file is not such a csv.
        ConfigError: The case is loaded with ``lung_margin_mm``; a list is
            scored whole.
    """

    def __init__(
        self, path: str, diameter_mm: float = UNKNOWN_DIAMETER_MM
    ) -> None:
        self.candidates = read_candidates(path)
        self.diameter_mm = diameter_mm

    def apply(self, sample: Sample, params: NoParams) -> Sample:
        if 'lungs' in sample:
            raise ConfigError(
                'LoadCase.lung_margin_mm: a candidate list is scored whole; '
                'set it to None.'
            )
        uid = sample['record'].series_uid
        centers = self.candidates.get(uid, np.zeros((0, 3)))
        boxes = sample['geometry'].sphere_box(centers, self.diameter_mm)
        return {**sample, 'candidates': boxes}
