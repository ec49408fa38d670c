"""One scan in, its nodules out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungdet.data_sample import DetDataSample
from lungdet.engine.weights import load_detector
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.atomic import atomic_path, write_text
from lungdet.io.image import load_volume, write_image
from lungdet.io.luna16 import write_submission
from lungdet.io.results import result_from_instances, result_to_dict
from lungdet.prepare import prepare_case
from lungdet.report.figures import nodule_sheet
from lungdet.structures import CaseRecord, SeriesResult, Volume

NUM_PICTURES = 8  # marks on the picture sheet
DEVICE = re.compile(r'cpu|cuda(:\d+)?')
MASKS, PICTURE = 'masks.nii.gz', 'marks.png'
FILES = ('result.json', 'marks.csv', MASKS, PICTURE)


class NoduleInferencer:
    """Find nodules in a scan, called like mmengine's inferencers.

    Window, spacing, crop size and thresholds come from the checkpoint.

    Args:
        weights: A checkpoint of ``tools/train.py``.
        device: ``'auto'``, ``'cpu'`` or ``'cuda[:N]'``.

    Raises:
        CheckpointError: The file holds no lungdet detector.
        ConfigError: No such device.
    """

    def __init__(self, weights: str | Path, *, device: str = 'auto') -> None:
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        _check_device(device)
        model, self.meta = load_detector(weights, device=device)
        self.model: Any = model
        self.weights_name = Path(weights).name

    def __call__(
        self,
        scan: str | Path | Volume,
        *,
        out_dir: str | Path | None = None,
        series_uid: str | None = None,
        hu_offset: int | None = None,
    ) -> SeriesResult:
        """Detect, and write the results if ``out_dir`` is given.

        Args:
            scan: Image file, DICOM folder, or a loaded volume.
            out_dir: Folder for result.json, marks.csv, masks and pictures.
            series_uid: Which series of a folder that holds several.
            hu_offset: HU of a stored 0, for files that lack it.

        Raises:
            SeriesError: The scan cannot be read as a CT volume.
            NotADirectoryError: ``out_dir`` is a file.
        """
        if out_dir is not None:
            _make_folder(Path(out_dir))
        volume = (
            scan
            if isinstance(scan, Volume)
            else load_volume(scan, series_uid=series_uid, hu_offset=hu_offset)
        )
        record, arrays = prepare_case(
            volume,
            annotations=[],
            excluded=[],
            spacing_mm=self.meta['spacing_mm'],
        )
        image = torch.from_numpy(arrays['image'])[None]
        sample = DetDataSample(
            metainfo={
                'series_uid': volume.series_uid,
                'affine': record.geometry.affine,
                'img_shape': record.geometry.shape,
            }
        )
        with torch.inference_mode():
            (sample,) = self.model.test_step(
                {'inputs': [image], 'data_samples': [sample]}
            )
        result = result_from_instances(
            sample.pred_instances, volume.series_uid, record.geometry
        )
        result.caveats = record.caveats
        if out_dir is not None:
            self._write(Path(out_dir), record, result, arrays['image'])
        return result

    def _write(
        self,
        out: Path,
        record: CaseRecord,
        result: SeriesResult,
        case_image: np.ndarray,
    ) -> None:
        for name in FILES:  # what is not written again was another run's
            (out / name).unlink(missing_ok=True)
        masks = paint_masks(result, record.source_geometry)
        mask_file = MASKS if masks.any() else None
        if mask_file:
            write_image(out / mask_file, masks, record.source_geometry)
        content = result_to_dict(
            result, record.source_geometry, mask_file=mask_file
        )
        content['model'] = {
            'weights': self.weights_name,
            'window': list(self.meta['window']),
            'spacing_mm': self.meta['spacing_mm'],
        }
        content['intended_use'] = 'Research use only.'
        write_text(out / 'result.json', json.dumps(content, indent=1))
        write_submission(
            out / 'marks.csv',
            [
                (result.series_uid, *detection.center_mm, detection.score)
                for detection in result.detections
            ],
        )
        top = result.detections[:NUM_PICTURES]
        if top:
            sheet = nodule_sheet(case_image, result.geometry, top)
            with atomic_path(out / PICTURE) as aside:
                sheet.savefig(aside, dpi=110)


def _check_device(name: str) -> None:
    if not DEVICE.fullmatch(name):
        raise ConfigError(f'device: {name!r}; choose auto, cpu or cuda[:N].')
    number = int(name.partition(':')[2] or 0)
    if name != 'cpu' and number >= torch.cuda.device_count():
        raise ConfigError(
            f'device: {name!r}, but torch sees '
            f'{torch.cuda.device_count()} GPUs here; choose auto or cpu.'
        )


def _make_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(
            f'{out}: is a file, results need a folder; choose another name.'
        )
    out.mkdir(parents=True, exist_ok=True)


def paint_masks(result: SeriesResult, grid: Geometry) -> np.ndarray:
    """Number the detections' masks on another grid, nearest voxel.

    Args:
        result: Detections with masks on ``result.geometry``.
        grid: Where to paint, such as the scan's own grid.

    Returns:
        uint8 (z, y, x); k where detection k (from 1, best first) is; where two
        overlap the better one stays. Detections beyond 255 are not painted.
    """
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for number, detection in reversed(
        list(enumerate(result.detections[:255], start=1))
    ):
        if detection.mask is None or detection.mask_box is None:
            continue
        low = np.array(detection.mask_box[:3])
        high = np.array(detection.mask_box[3:])
        corners = np.array(
            np.meshgrid(*np.stack([low - 0.5, high - 0.5], axis=1))
        )
        corners = grid.to_index(
            result.geometry.to_world(corners.reshape(3, -1).T)
        )
        start = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
        stop = np.ceil(corners.max(0)).astype(int) + 1
        stop = np.minimum(stop, grid.shape)
        if (stop <= start).any():
            continue
        index = np.stack(
            np.meshgrid(
                *(np.arange(a, b) for a, b in zip(start, stop)),
                indexing='ij',
            ),
            axis=-1,
        )
        source = result.geometry.to_index(grid.to_world(index.reshape(-1, 3)))
        source = np.rint(source).astype(int) - low
        inside = ((source >= 0) & (source < detection.mask.shape)).all(1)
        hit = np.zeros(len(source), dtype=bool)
        hit[inside] = detection.mask[tuple(source[inside].T)]
        region = tuple(slice(a, b) for a, b in zip(start, stop))
        labels[region][hit.reshape(stop - start)] = number
    return labels
