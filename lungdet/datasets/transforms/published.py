"""The faults of the NoduleNet authors' crops.

``configs/nodulenet_reference.py`` uses them, so that the published behaviour
can be measured. They have no other use.
"""

from __future__ import annotations

import numpy as np

from lungdet.datasets.transforms.loading import LoadCrop
from lungdet.geometry import box_of_mask
from lungdet.registry import TRANSFORMS
from lungdet.structures import CaseNodule

BORDER = 8  # voxels by which every side is longer


@TRANSFORMS.register_module()
class PublishedLoadCrop(LoadCrop):
    """Boxes of the visible masks, each side 8 voxels too long.

    Readers draw masks with a margin and cut them off at the crop's faces, so
    these boxes are no measure of a nodule, and the border makes every
    detection 8 voxels too long. A nodule without a mask keeps its own box,
    8 voxels longer.

    Args:
        As ``LoadCrop``.
    """

    def target_box(
        self, nodule: CaseNodule, box: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        visible = box_of_mask(mask == nodule.id) if nodule.has_mask else None
        box = box if visible is None else visible
        return box + np.repeat([-0.5, 0.5], 3) * BORDER
