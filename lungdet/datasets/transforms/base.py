"""The base of transforms (draw, then apply) and the keys of a sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar

import numpy as np
from mmcv.transforms import BaseTransform

from lungdet.datasets.crop_grid import CropGrid
from lungdet.geometry import Geometry
from lungdet.hounsfield import Window
from lungdet.io.case_store import CaseStore
from lungdet.structures import CaseNodule, CaseRecord

Params = TypeVar('Params')


class Sample(TypedDict, total=False):
    """The dict that transforms pass on; keys exist once they are set.

    Set by the data set:
        store: Store of the case's arrays.
        record: The case.
        kind: ``'nodule'``, ``'mined'``, ``'lung'``, ``'inserted'`` or
            ``'anywhere'``, the kind of a training crop, or ``'scan'``.
        epoch: From 0; transforms may change with it.
        nodule: The nodule of the crop, None for other kinds.
        mark_box: Edge box (6,) of the false mark that a mined crop is around,
            in the case's voxels; None for other kinds.
        window: HU that become 0 and 1, in pre-training.
        held_out: Series uids and patients of the validation and the test.
        rng: Generator passed to ``draw``.
        sample_key: Names the sample in errors.

    Set by transforms:
        crop_grid: Grid of the crop, until it is read.
        geometry: Grid of the arrays, (D, H, W) voxels.
        image: (D, H, W); HU, int16 or float32, or in pre-training normalized
            intensity, float32 in [0, 1].
        mask: (D, H, W) uint8, instance ids of nodules, 0 background.
        gt_nodules: The N nodules that are targets.
        gt_boxes: Their edge boxes (N, 6) float64, voxels of ``geometry``.
        ignored_boxes: Edge boxes (M, 6) float64 that are neither positive nor
            negative.
        candidates: Edge boxes (K, 6) float64 to be scored.
        lungs: (D, H, W) bool, of a whole case whose detections are filtered.
        lung_margin: Voxels by which a detection may lie outside of them.
        target: (D, H, W) float32, what pre-training restores.
        in_lungs: (D, H, W) bool, voxels of a pre-training crop.
        masked: (D, H, W) bool, voxels that painting replaced.
        painting: ``'in'`` or ``'out'``, which voxels those are.
    """

    store: CaseStore
    record: CaseRecord
    kind: str
    epoch: int
    nodule: CaseNodule | None
    mark_box: tuple[float, ...] | None
    window: Window
    held_out: frozenset[str]
    rng: np.random.Generator
    sample_key: str
    crop_grid: CropGrid
    geometry: Geometry
    image: np.ndarray
    mask: np.ndarray
    lungs: np.ndarray
    lung_margin: float
    gt_nodules: list[CaseNodule]
    gt_boxes: np.ndarray
    ignored_boxes: np.ndarray
    candidates: np.ndarray
    target: np.ndarray
    in_lungs: np.ndarray
    masked: np.ndarray
    painting: str


class Transform(BaseTransform, Generic[Params]):
    """A step of a pipeline, in two halves.

    ``draw`` makes every choice and returns it as a frozen dataclass of plain
    values, with all that ``apply`` needs besides the sample: options of the
    transform included. So a stored params object, even one that went through
    JSON, replays the sample bit for bit, however the transform that applies it
    was configured. For noise, a seed is drawn.
    """

    @abstractmethod
    def draw(self, rng: np.random.Generator, sample: Sample) -> Params:
        """Make all random choices; the sample must not be changed."""

    @abstractmethod
    def apply(self, sample: Sample, params: Params) -> Mapping[str, Any]:
        """A new sample; the given one and its arrays are not changed."""

    def adds(self, held_out: Collection[str]) -> set[str]:
        """Series uids and patients whose data this may add to a sample.

        Args:
            held_out: Those of the validation and the test.
        """
        return set()

    def transform(self, sample: Sample) -> Mapping[str, Any]:
        """Draw from the sample's ``rng`` and apply; called by a pipeline."""
        return self.apply(sample, self.draw(sample['rng'], sample))


@dataclass(frozen=True)
class NoParams:
    """Nothing is drawn."""


class FixedTransform(Transform[NoParams]):
    """A transform without random choices; its options decide."""

    def draw(self, rng: np.random.Generator, sample: Sample) -> NoParams:
        return NoParams()
