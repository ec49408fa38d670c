"""Inference on one scan."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungdet.apis.window_progress import OnWindows, watch_windows
from lungdet.data_sample import DetDataSample
from lungdet.engine.detector import load_detector
from lungdet.errors import ConfigError
from lungdet.evaluation import SCORE_THR, Selection
from lungdet.io.atomic import atomic_path
from lungdet.io.image import load_volume
from lungdet.io.predictions import CasePredictions
from lungdet.io.result_folder import make_result_folder, write_result_folder
from lungdet.prepare import PreparedCase, prepare_case
from lungdet.prepare.given_lungs import lungs_of_scan
from lungdet.report.figures import detection_picture, picture_sheet
from lungdet.structures import CaseRecord, SeriesResult, Volume

UNREAD_THR = (
    f'the score threshold {SCORE_THR:g} is a default: the weights hold none '
    'that was read from a FROC curve (test_cfg.score_thr)'
)
MAX_PICTURES = 8  # detections on the picture sheet
PICTURES = 'marks.png'
DEVICE = re.compile(r'cpu|cuda(:\d+)?')


class NoduleInferencer:
    """Find nodules in a scan, called like mmengine's inferencers.

    HU window, spacing, crop size and thresholds come from the checkpoint.

    Args:
        weights: A checkpoint of ``tools/train.py``.
        device: ``'auto'``, ``'cpu'`` or ``'cuda[:N]'``.
        selection: Which detections are kept; None for the defaults, with the
            ``score_thr`` of the weights' test_cfg, if it has one.

    Raises:
        CheckpointError: The file is not a lungdet detector.
        ConfigError: No such device.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        device: str = 'auto',
        selection: Selection | None = None,
    ) -> None:
        model, self.contract = load_detector(
            weights, device=find_device(device)
        )
        self.model: Any = model
        self.weights_name = Path(weights).name
        self.score_thr = model_score_thr(model)
        if selection is None and self.score_thr is not None:
            selection = Selection(score_thr=self.score_thr)
        self.selection = selection or Selection()

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
            series_uid: Which series, if the folder has several.
            hu_offset: Added to values that were stored without their offset.

        Raises:
            SeriesError: The scan cannot be read as a CT volume.
            NotADirectoryError: ``out_dir`` is a file.
        """
        folder = None if out_dir is None else make_result_folder(out_dir)
        if not isinstance(scan, Volume):
            scan = load_volume(
                scan, series_uid=series_uid, hu_offset=hu_offset
            )
        case = self.prepare(scan)
        result = self.detect(case)
        if folder is not None:
            self.write(folder, case, result)
        return result

    def prepare(
        self, volume: Volume, lung_mask: Path | None = None
    ) -> PreparedCase:
        """The case that the network gets; needs neither network nor device.

        Args:
            volume: The scan.
            lung_mask: File of its lungs, labels 3 and 4; None to find them.

        Raises:
            AnnotationError: The mask cannot belong to this scan.
        """
        spacing_mm = self.contract.spacing_mm or 1.0
        lungs = lungs_of_scan(lung_mask, volume)
        return prepare_case(volume, lungs, spacing_mm=spacing_mm)

    def detect(
        self, case: PreparedCase, on_windows: OnWindows | None = None
    ) -> SeriesResult:
        """What the selection keeps of the detections in a case.

        Args:
            case: Of ``prepare``.
            on_windows: Called with (done, all) after each batch of windows.
        """
        record, arrays = case
        with watch_windows(self.model, record.geometry.shape, on_windows):
            every = self.predict(record, arrays['image'], arrays['lungs'])
        result = self.selection.apply(every)
        if self.score_thr is None and self.selection.score_thr == SCORE_THR:
            result.caveats.append(UNREAD_THR)
        return result

    def write(
        self, folder: Path, case: PreparedCase, result: SeriesResult
    ) -> None:
        """Write the files of a result.

        Args:
            folder: Exists.
            case: That it is of.
            result: Of ``detect``.
        """
        model = {
            'weights': self.weights_name,
            'window': list(self.contract.window),
            'spacing_mm': self.contract.spacing_mm,
        }
        write_result_folder(folder, result, model=model)
        write_pictures(folder / PICTURES, case.arrays['image'], result)

    def predict(
        self,
        case: CaseRecord,
        hu: np.ndarray,
        lungs: np.ndarray | None = None,
    ) -> SeriesResult:
        """Everything that is detected in a prepared case.

        Args:
            case: Its record.
            hu: int16 (z, y, x) on ``case.geometry``.
            lungs: The same, above 0 in the lungs: boxes farther from them
                than the selection's margin are dropped; None keeps them.
        """
        sample = DetDataSample(
            metainfo={
                'series_uid': case.series_uid,
                'affine': case.geometry.affine,
                'img_shape': case.geometry.shape,
            }
        )
        margin = self.selection.lung_margin_mm
        if lungs is not None and margin is not None:
            sample.lungs = torch.from_numpy(lungs > 0)
            sample.set_metainfo({'lung_margin': margin / case.spacing_mm})
        batch = {
            'inputs': [torch.from_numpy(hu)[None]],
            'data_samples': [sample],
        }
        with torch.inference_mode():
            (sample,) = self.model.test_step(batch)
        predictions = CasePredictions.of(
            dict(sample.pred_instances.all_items())
        )
        result = predictions.to_result(
            case.series_uid,
            case.geometry,
            source_geometry=case.source_geometry,
        )
        return replace(result, caveats=[*case.caveats])


def model_score_thr(model: Any) -> float | None:
    """The score that a model's test_cfg shows detections from, if any."""
    return (getattr(model, 'test_cfg', None) or {}).get('score_thr')


def find_device(name: str) -> str:
    """The device to run on; ``'auto'`` is a GPU if there is one.

    Raises:
        ConfigError: No such device.
    """
    if name == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    if not DEVICE.fullmatch(name):
        raise ConfigError(f'device: {name!r}; choose auto, cpu or cuda[:N].')
    number = int(name.partition(':')[2] or 0)
    if name != 'cpu' and number >= torch.cuda.device_count():
        raise ConfigError(
            f'device: {name!r}, but torch sees '
            f'{torch.cuda.device_count()} GPUs here; choose auto or cpu.'
        )
    return name


def write_pictures(path: Path, hu: np.ndarray, result: SeriesResult) -> None:
    """Draw the best detections; without any, an earlier picture is removed."""
    path.unlink(missing_ok=True)
    best = result.detections[:MAX_PICTURES]
    if best:
        sheet = picture_sheet(
            [detection_picture(hu, result.geometry, d) for d in best]
        )
        with atomic_path(path) as aside:
            sheet.savefig(aside, dpi=110)
