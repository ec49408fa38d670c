"""Read what the plan asks for, and pack it for the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.geometry import (
    UNKNOWN_DIAMETER_MM,
    Geometry,
    box_of_mask,
    move_boxes,
)
from lungdet.io.luna16 import read_candidates
from lungdet.registry import TRANSFORMS

BOX_SOURCES = ('diameter', 'mask')
HU_RANGE = np.iinfo(np.int16)


@TRANSFORMS.register_module()
class LoadCrop(BaseTransform):
    """Read the planned crop: image, instance mask, boxes, ignored regions.

    Only the chunks the crop touches are read. Flips and transpositions are
    views; any other plan is resampled once, linear for the image (float32),
    nearest for the instance mask, so ids survive and touching nodules stay
    two.

    A nodule whose centre is nearer than ``min_inside`` voxels to a face is
    cut: it becomes an ignored region. So do excluded findings, except those
    that lie at a nodule (nearly every nodule has one).

    Args:
        pad_hu: HU beyond the case.
        min_inside: Voxels between a counted nodule's centre and the faces.
        box_source: ``'diameter'``, the nodule's box (the cube of the LUNA16
            diameter, or the box it was annotated with), or ``'mask'``, the
            box of the visible mask where there is one.
        border: Voxels added to each edge length of a box, half at either
            end (8 in the published system).

    Raises:
        ConfigError: Unknown ``box_source``.
    """

    def __init__(
        self,
        pad_hu: int = 0,
        min_inside: float = 4.0,
        *,
        box_source: str = 'diameter',
        border: float = 0.0,
    ) -> None:
        if box_source not in BOX_SOURCES:
            raise ConfigError(
                f'box_source: {box_source!r}; choose one of {BOX_SOURCES}.'
            )
        self.pad_hu = pad_hu
        self.min_inside = min_inside
        self.box_source = box_source
        self.border = border

    def transform(self, results: dict) -> dict:
        record, store = results['record'], results['store']
        size = np.array(results['crop_size'])
        matrix, center = results['matrix'], results['center']
        corner = center - matrix @ ((size - 1) / 2)
        results['geometry'] = plan_geometry(
            record.geometry, matrix, corner, results['crop_size']
        )
        for name, order, fill in (('image', 1, self.pad_hu), ('mask', 0, 0)):
            if name == 'image' or store.has(record.series_uid, name):
                results[name] = read_plan(
                    store,
                    record.series_uid,
                    name,
                    matrix=matrix,
                    corner=corner,
                    size=size,
                    order=order,
                    fill=fill,
                    shape=record.geometry.shape,
                )
            else:
                results[name] = np.zeros(size, dtype=np.uint8)
        self._targets(results)
        return results

    def _targets(self, results: dict) -> None:
        record, geometry = results['record'], results['geometry']
        size = np.array(results['crop_size'])
        kept, cut = [], []
        for nodule in record.nodules:
            (box,) = move_boxes(nodule.box, record.geometry, geometry)
            middle = (box[:3] + box[3:]) / 2
            if self.box_source == 'mask' and nodule.has_mask:
                seen = box_of_mask(results['mask'] == nodule.id)
                box = box if seen is None else seen
            box = box + np.repeat([-0.5, 0.5], 3) * self.border
            if (
                (middle >= self.min_inside)
                & (middle <= size - self.min_inside)
            ).all():
                kept.append((nodule, box))
            elif (box[3:] > 0).all() and (box[:3] < size).all():
                cut.append(box)
        results['gt'] = kept
        results['ignored'] = cut + ignored_boxes(record, geometry, size)


def ignored_boxes(
    record: Any, geometry: Geometry, size: np.ndarray
) -> list[np.ndarray]:
    """Edge boxes of excluded findings in an array, but for those at a nodule.

    Args:
        record: The case.
        geometry: Grid of the array.
        size: Its voxels (z, y, x).
    """
    if not record.excluded:
        return []
    centers = np.array([f.center_mm for f in record.excluded])
    diameters = np.array(
        [f.diameter_mm or UNKNOWN_DIAMETER_MM for f in record.excluded]
    )
    at_nodule = np.zeros(len(centers), dtype=bool)
    for nodule in record.nodules:
        gap = np.linalg.norm(centers - nodule.center_mm, axis=1)
        at_nodule |= gap < nodule.diameter_mm / 2
    boxes = geometry.sphere_box(centers, diameters)
    touch = (boxes[:, 3:] > 0).all(1) & (boxes[:, :3] < size).all(1)
    return list(boxes[touch & ~at_nodule])


def plan_geometry(
    geometry: Geometry,
    matrix: np.ndarray,
    corner: np.ndarray,
    size: tuple[int, int, int],
) -> Geometry:
    """Geometry of a crop whose voxel j shows index ``corner + matrix @ j``."""
    affine = geometry.affine.copy()
    affine[:3, :3] = geometry.affine[:3, :3] @ matrix
    affine[:3, 3] = geometry.to_world(corner[None])[0]
    return Geometry((int(size[0]), int(size[1]), int(size[2])), affine)


def read_plan(
    store: Any,
    uid: str,
    name: str,
    *,
    matrix: np.ndarray,
    corner: np.ndarray,
    size: np.ndarray,
    order: int,
    fill: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Voxels of a planned crop; see the module's text."""
    far = corner + matrix @ (size - 1)
    reach = np.abs(matrix) @ (size - 1) / 2
    middle = (corner + far) / 2
    low = np.floor(middle - reach + 1e-6).astype(int)
    high = np.ceil(middle + reach - 1e-6).astype(int) + 1
    region = read_padded(store, uid, name, low, high, fill=fill, shape=shape)
    axes = np.abs(matrix).argmax(0)  # case axis shown by each crop axis
    exact = np.zeros((3, 3))
    exact[axes, range(3)] = np.sign(matrix[axes, range(3)])
    if np.array_equal(exact, matrix):
        crop = region.transpose(axes)
        steps = tuple(
            slice(None, None, int(matrix[axis, k]))
            for k, axis in enumerate(axes)
        )
        return np.ascontiguousarray(crop[steps])
    if order == 0 and not region.any():
        return np.zeros(size, dtype=region.dtype)
    if not (matrix[0, 1:].any() or matrix[1:, 0].any()):
        return warp_planes(
            region, matrix, corner - low, size=size, order=order
        )
    from scipy.ndimage import affine_transform

    return affine_transform(
        region.astype(np.float32) if order else region,
        matrix,
        corner - low,
        output_shape=tuple(size),
        order=order,
        mode='nearest',
    )


def warp_planes(
    region: np.ndarray,
    matrix: np.ndarray,
    offset: np.ndarray,
    *,
    size: np.ndarray,
    order: int,
) -> np.ndarray:
    """Resample a region under a plan that keeps z apart from y and x.

    In the plane first, for every source plane at once, then along z: four
    and two taps instead of eight.

    Args:
        region: Source voxels (z, y, x).
        matrix: Source step of one output voxel, (3, 3), z uncoupled.
        offset: Source index of output voxel (0, 0, 0).
        size: Output voxels (z, y, x).
        order: 0, nearest, keeps the type; 1, linear, gives float32.
    """
    at_z = offset[0] + matrix[0, 0] * np.arange(size[0])
    steps = np.stack(np.meshgrid(*map(np.arange, size[1:]), indexing='ij'))
    at_yx = np.einsum('ab,bij->aij', matrix[1:, 1:], steps)
    at_yx += offset[1:, None, None]
    last = np.array(region.shape) - 1
    if order == 0:
        z = np.clip(np.floor(at_z + 0.5).astype(int), 0, last[0])
        y, x = np.clip(
            np.floor(at_yx + 0.5).astype(int), 0, last[1:, None, None]
        )
        crop = np.zeros(size, dtype=region.dtype)
        # most planes of a mask are empty
        full = np.asarray(region.any(axis=(1, 2)))[z]
        crop[full] = region[z[full]][:, y, x]
        return crop
    grid = at_yx[::-1] / (np.maximum(last[:0:-1], 1) / 2)[:, None, None] - 1
    planes = torch.nn.functional.grid_sample(
        torch.from_numpy(region.astype(np.float32))[None],
        torch.from_numpy(grid.astype(np.float32)).permute(1, 2, 0)[None],
        mode='bilinear',
        padding_mode='border',
        align_corners=True,
    )[0]
    z = np.clip(at_z, 0, last[0])
    below = np.floor(z).astype(int)
    share = torch.from_numpy((z - below).astype(np.float32))[:, None, None]
    above = np.minimum(below + 1, last[0])
    return torch.lerp(planes[below], planes[above], share).numpy()


def read_padded(
    store: Any,
    uid: str,
    name: str,
    low: np.ndarray,
    high: np.ndarray,
    *,
    fill: int,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Region [low, high) of an array, ``fill`` outside the case."""
    inner_low = np.clip(low, 0, shape)
    inner_high = np.clip(high, inner_low, shape)
    inner = tuple(slice(a, b) for a, b in zip(inner_low, inner_high))
    if (inner_low == low).all() and (inner_high == high).all():
        return store.read(uid, name, inner)
    dtype = np.int16 if name == 'image' else np.uint8
    region = np.full(high - low, fill, dtype=dtype)
    if (inner_high > inner_low).all():
        target = tuple(
            slice(a - o, b - o) for a, b, o in zip(inner_low, inner_high, low)
        )
        region[target] = store.read(uid, name, inner)
    return region


@TRANSFORMS.register_module()
class LoadCase(BaseTransform):
    """Read a whole case, for validation and test.

    Args:
        targets: Also its boxes, masks and excluded findings, from which the
            model reports the training's losses.
    """

    def __init__(self, targets: bool = False) -> None:
        self.targets = targets

    def transform(self, results: dict) -> dict:
        record, store = results['record'], results['store']
        results['image'] = store.read(record.series_uid, 'image')
        results['geometry'] = record.geometry
        if self.targets:
            results['gt'] = [(n, np.array(n.box)) for n in record.nodules]
            results['ignored'] = ignored_boxes(
                record, record.geometry, np.array(record.geometry.shape)
            )
            results['mask'] = (
                store.read(record.series_uid, 'mask')
                if store.has(record.series_uid, 'mask')
                else np.zeros(record.geometry.shape, dtype=np.uint8)
            )
        return results


@TRANSFORMS.register_module()
class LoadCandidates(BaseTransform):
    """Add given places of a whole case, to be scored by the model.

    Args:
        path: A csv with seriesuid, coordX, coordY and coordZ in world mm.
        diameter_mm: Side of the box around each place.
    """

    def __init__(
        self, path: str, diameter_mm: float = UNKNOWN_DIAMETER_MM
    ) -> None:
        self.candidates = read_candidates(path)
        self.diameter_mm = diameter_mm

    def transform(self, results: dict) -> dict:
        uid = results['record'].series_uid
        centers = self.candidates.get(uid, np.zeros((0, 3)))
        results['candidates'] = results['geometry'].sphere_box(
            centers, self.diameter_mm
        )
        return results


@TRANSFORMS.register_module()
class PackDetInputs(BaseTransform):
    """Tensors and a DetDataSample, as the model takes them.

    The image becomes int16 HU (1, D, H, W), rounded once, whatever the
    transforms before made of it.
    """

    def transform(self, results: dict) -> dict:
        record = results['record']
        sample = DetDataSample(
            metainfo={
                'series_uid': record.series_uid,
                'affine': results['geometry'].affine,
                'img_shape': results['geometry'].shape,
                'sample_key': results['sample_key'],
            }
        )
        if 'gt' in results:
            self._pack_targets(sample, results)
        if 'candidates' in results:
            boxes = torch.from_numpy(results['candidates'])
            sample.candidates = InstanceData(bboxes=boxes)
        image = torch.from_numpy(results['image'])
        if image.dtype != torch.int16:
            image = image.round().clamp_(HU_RANGE.min, HU_RANGE.max)
        return {
            'inputs': image.to(torch.int16)[None],
            'data_samples': sample,
        }

    def _pack_targets(self, sample: DetDataSample, results: dict) -> None:
        kept = results['gt']
        boxes = np.array([box for _, box in kept]).reshape(-1, 6)
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes).float(),
            labels=torch.ones(len(kept), dtype=torch.long),
            ids=torch.tensor([n.id for n, _ in kept], dtype=torch.long),
            has_mask=torch.tensor(
                [n.has_mask for n, _ in kept], dtype=torch.bool
            ),
        )
        ignored = np.array(results['ignored']).reshape(-1, 6)
        sample.ignored_instances = InstanceData(
            bboxes=torch.from_numpy(ignored).float()
        )
        sample.gt_masks = torch.from_numpy(results['mask'])
