"""Insertion of nodules, and of shams, which are not nodules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lungdet.data_sample import MIN_INSIDE
from lungdet.datasets.crop_mix import CROP_KINDS
from lungdet.datasets.reading import read_mask
from lungdet.datasets.transforms.base import Sample, Transform
from lungdet.errors import ConfigError
from lungdet.insertion.draw import DrawOptions, draw_nodule, draw_sham
from lungdet.insertion.insert import insert
from lungdet.insertion.placement import Placement
from lungdet.insertion.sites import GridSphere, Room
from lungdet.insertion.source import open_source
from lungdet.insertion.target import target_nodule
from lungdet.registry import TRANSFORMS
from lungdet.structures import CaseNodule

MAX_ID = 255  # of a uint8 mask


@dataclass(frozen=True)
class InsertionParams:
    """Insertions in order, each with the values of a ``Placement``."""

    placements: Sequence[Mapping[str, Any]] = ()


@TRANSFORMS.register_module()
class NoduleInsertion(Transform[InsertionParams]):
    """Insert nodules as targets, and shams at least as often.

    It belongs after ``LoadCrop`` and before HU are changed. Each nodule goes
    to a site of its kind: parenchyma, a vessel, the pleura. A sham is a piece
    of the same scan, inserted in the same way, and not a target: without
    shams, traces of the insertion would give nodules away.

    Nodules of a sample's ``held_out`` scans and patients are never drawn.

    Args:
        source: Path of a nodule library, or ``'parametric'``.
        prob: How often a crop gets insertions.
        count: Fewest and most nodules of such a crop; as many shams.
        sham_only: How often such a crop gets only its shams.
        min_inside: Voxels between a nodule's centre and the faces, as in
            ``LoadCrop``.
        scale: Range of a nodule's magnification.
        psf_mm: Range of the point spread's sigma in the scan's plane.
        kinds: Kinds of the crops that may get insertions, such as
            ``'inserted'``; None for all.

    Raises:
        ConfigError: An unknown kind of crop.
    """

    def __init__(
        self,
        source: str,
        *,
        prob: float = 0.5,
        count: Sequence[int] = (1, 2),
        sham_only: float = 0.3,
        min_inside: float = MIN_INSIDE,
        scale: Sequence[float] = (0.9, 1.1),
        psf_mm: Sequence[float] = (0.45, 0.7),
        kinds: Sequence[str] | None = None,
    ) -> None:
        self.source = open_source(source)
        self.prob, self.count, self.sham_only = prob, tuple(count), sham_only
        self.min_inside = min_inside
        if kinds is not None and (unknown := {*kinds} - {*CROP_KINDS}):
            raise ConfigError(
                f'NoduleInsertion.kinds: {min(unknown)!r} is not a kind of '
                f'crop; choose among {", ".join(CROP_KINDS)}.'
            )
        self.kinds = kinds
        self.options = DrawOptions(
            (scale[0], scale[1]), (psf_mm[0], psf_mm[1])
        )

    def takes(self, kind: str) -> bool:
        """Whether crops of a kind may get insertions."""
        return self.kinds is None or kind in self.kinds

    def draw(
        self, rng: np.random.Generator, sample: Sample
    ) -> InsertionParams:
        if not self.takes(sample['kind']) or rng.random() >= self.prob:
            return InsertionParams()
        room = self._room(sample)
        fewest, most = self.count
        wanted = int(rng.integers(fewest, most + 1))
        drawn = [
            draw_sham(rng, room, self.options) for _ in range(max(wanted, 1))
        ]
        shams = [placement for placement in drawn if placement is not None]
        nodules: list[Placement] = []
        if rng.random() >= self.sham_only:
            for _ in range(min(wanted, len(shams))):
                nodule = draw_nodule(
                    rng, room, self.source, self.options, sample['held_out']
                )
                if nodule is not None:
                    nodules.append(nodule)
        return InsertionParams(
            tuple({**vars(placement)} for placement in [*shams, *nodules])
        )

    def _room(self, sample: Sample) -> Room:
        geometry, boxes = sample['geometry'], sample['gt_boxes']
        spacing = geometry.spacing
        findings = np.concatenate([boxes, sample['ignored_boxes']])
        half = (findings[:, 3:] - findings[:, :3]) / 2
        centers = findings[:, :3] + half - 0.5
        return Room(
            sample['image'],
            read_mask(sample['store'], sample['record'], geometry, 'lungs'),
            spacing,
            margin=self.min_inside + 1,
            occupied=[
                GridSphere(center * spacing, float(radius))
                for center, radius in zip(centers, (half * spacing).max(1))
            ],
        )

    def adds(self, held_out: Collection[str]) -> set[str]:
        return self.source.drawable(held_out)

    def apply(self, sample: Sample, params: InsertionParams) -> Sample:
        placements = [Placement(**values) for values in params.placements]
        if not placements:
            return sample
        self.source.check(placements, sample['held_out'])
        image, shapes = insert(
            sample['image'],
            placements,
            self.source,
            sample['geometry'],
            sample['record'].source_geometry,
        )
        mask = sample['mask'].copy()
        # a nodule may have no voxel in the crop, or no target here
        ids = [int(mask.max()), *(n.id for n in sample['gt_nodules'])]
        nodules: list[CaseNodule] = []
        for placement, shape in zip(placements, shapes):
            number = max(ids) + 1 + len(nodules)
            if placement.kind != 'nodule' or number > MAX_ID:
                continue
            mask[shape.region][shape.inside] = number
            nodules.append(
                target_nodule(
                    placement,
                    shape,
                    sample['geometry'],
                    sample['record'].geometry,
                    number,
                )
            )
        boxes = sample['geometry'].sphere_box(
            np.array([n.center_mm for n in nodules]).reshape(-1, 3),
            np.array([n.diameter_mm for n in nodules]),
        )
        return {
            **sample,
            'image': image,
            'mask': mask,
            'gt_nodules': [*sample['gt_nodules'], *nodules],
            'gt_boxes': np.concatenate([sample['gt_boxes'], boxes]),
        }
