"""One scan to prepare, and what its case depends on."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungdet.io.case_json import annotation_to_json
from lungdet.io.lidc_masks import MIN_READERS
from lungdet.prepare.discover import ScanSource
from lungdet.prepare.fingerprint import fingerprint
from lungdet.prepare.grid import CROP_MARGIN_MM, NODULE_MARGIN_MM
from lungdet.prepare.references import ReferenceSource, TableReferences
from lungdet.structures import Annotation

LUNG_METHOD = 2  # raise it when the segmentation of the lungs changes
# settings of every case; a source of references replaces its own
NO_REFERENCES = {
    'annotations': [],
    'boxes': [],
    'xml': None,
    'consensus': [MIN_READERS, 'half'],
    'masks': None,
}


@dataclass(frozen=True)
class ScanTask:
    """One scan to prepare.

    Attributes:
        source: Where it is stored.
        references: Source of its nodules.
        excluded: Findings that are neither hit nor false positive.
        lung_mask: File of a lung mask; None to segment the lungs.
        hu_offset: Added to values that were stored without their offset.
    """

    source: ScanSource
    references: ReferenceSource = TableReferences()
    excluded: tuple[Annotation, ...] = ()
    lung_mask: Path | None = None
    hu_offset: int | None = None

    @property
    def uid(self) -> str:
        """Series uid."""
        return self.source.uid

    @property
    def files(self) -> tuple[Path, ...]:
        """Files and folders that its preparation reads."""
        masks = () if self.lung_mask is None else (self.lung_mask,)
        return (self.source.path, *masks, *self.references.files())


def case_settings(task: ScanTask, spacing_mm: float) -> dict[str, Any]:
    """What a case depends on, as JSON; equal settings mean an equal case.

    Raises:
        OSError: A file of the scan cannot be read.
    """
    excluded = json.dumps([annotation_to_json(a) for a in task.excluded])
    return {
        'spacing_mm': spacing_mm,
        'margins_mm': [CROP_MARGIN_MM, NODULE_MARGIN_MM],
        'scan': fingerprint(task.source.path),
        **NO_REFERENCES,
        **task.references.settings(),
        'excluded': zlib.crc32(excluded.encode()),
        'lungs': fingerprint(task.lung_mask, whole=True),
        'lung_method': LUNG_METHOD,
        'hu_offset': task.hu_offset,
        'subset': task.source.subset,
    }
