"""Inference on one scan."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lungdet
from lungdet.apis.backends import check_backend, set_backend
from lungdet.apis.window_progress import OnWindows, watch_windows
from lungdet.data_sample import DetDataSample
from lungdet.engine.detector import load_detector
from lungdet.engine.release import shipped_release
from lungdet.errors import ConfigError
from lungdet.evaluation import SCORE_THR, Selection
from lungdet.exporters import (
    DEFAULT_FORMATS,
    check_formats,
    check_source,
    export_result,
    make_result_folder,
)
from lungdet.io.image import load_volume
from lungdet.io.predictions import CasePredictions
from lungdet.prepare import LungSides, find_sides, locate, prepare_case
from lungdet.prepare.given_lungs import lungs_of_scan
from lungdet.structures import (
    CaseRecord,
    RunInfo,
    SeriesResult,
    SourceSlice,
    Volume,
)

UNREAD_THR = (
    f'the score threshold {SCORE_THR:g} is a default: the weights hold none '
    'that was read from a FROC curve (test_cfg.score_thr)'
)
DEVICE = re.compile(r'cpu|cuda(:\d+)?')


@dataclass(frozen=True, eq=False)
class InferenceCase:
    """A scan as the network gets it, and what its result will say about it.

    Attributes:
        record: Everything except its voxels.
        arrays: ``image`` (int16 HU) and ``lungs`` (uint8), each (z, y, x).
        sides: Where the two lungs are; None if they are not known.
        slices: DICOM slices of the scan, none for an image file.
        seconds: Wall time of each step so far.
    """

    record: CaseRecord
    arrays: Mapping[str, np.ndarray]
    sides: LungSides | None
    slices: tuple[SourceSlice, ...]
    seconds: Mapping[str, float]


class NoduleInferencer:
    """Find nodules in a scan, called like mmengine's inferencers.

    HU window, spacing, crop size and thresholds come from the checkpoint.

    Args:
        weights: A checkpoint of ``tools/train.py``, a release, a folder of
            either, or the name of a detector that comes with lungdet; None
            for the usual one.
        device: ``'auto'``, ``'cpu'`` or ``'cuda[:N]'``.
        selection: Which detections are kept; None for the defaults, with the
            ``score_thr`` of the weights' test_cfg, if it has one.
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'`` for the faster one, as
            ``choose_arithmetic`` finds it.
        backend: What computes the network: ``'torch'``, ``'onnxruntime'`` or
            ``'openvino'``; the last two on the CPU.

    Raises:
        CheckpointError: The file is not a lungdet detector.
        ConfigError: No such device, precision or backend.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        device: str = 'auto',
        selection: Selection | None = None,
        precision: str = 'auto',
        backend: str = 'torch',
    ) -> None:
        check_backend(backend, device)
        self.device = find_device(device if backend == 'torch' else 'cpu')
        detector = load_detector(
            weights or shipped_release(), device=self.device
        )
        self.backend = backend
        self.wanted_precision = precision
        self.model, chosen = set_backend(
            detector.model, self.device, backend, precision
        )
        self.precision = chosen.precision
        self.memory_format = chosen.memory_format
        self.info = detector.info
        self.score_thr = model_score_thr(self.model)
        if selection is None and self.score_thr is not None:
            selection = Selection(score_thr=self.score_thr)
        self.selection = selection or Selection()

    def __call__(
        self,
        scan: str | Path | Volume,
        *,
        out_dir: str | Path | None = None,
        formats: Sequence[str] = DEFAULT_FORMATS,
        series_uid: str | None = None,
        hu_offset: int | None = None,
    ) -> SeriesResult:
        """Detect, and write the results if ``out_dir`` is given.

        Args:
            scan: Image file, DICOM folder, or a loaded volume.
            out_dir: Folder for the files of this scan.
            formats: Names of ``lungdet.exporters.EXPORTERS``.
            series_uid: Which series, if the folder has several.
            hu_offset: Added to values that were stored without their offset.

        Raises:
            SeriesError: The scan cannot be read as a CT volume, or a format
                cannot hold it.
            NotADirectoryError: ``out_dir`` is a file.
            ConfigError: An unknown format, or one whose library is missing.
        """
        chosen = check_formats(formats)
        folder = None if out_dir is None else make_result_folder(out_dir)
        started = time.perf_counter()
        if not isinstance(scan, Volume):
            scan = load_volume(
                scan, series_uid=series_uid, hu_offset=hu_offset
            )
        read = time.perf_counter() - started
        if folder is not None:
            check_source(chosen, scan.series_uid, scan.slices)
        case = self.prepare(scan, seconds={'read': read})
        result = self.detect(case)
        if folder is None:
            return result
        return export_result(
            folder, result, chosen, image=case.arrays['image']
        )

    def prepare(
        self,
        volume: Volume,
        lung_mask: Path | None = None,
        *,
        seconds: Mapping[str, float] | None = None,
    ) -> InferenceCase:
        """The case that the network gets; needs neither network nor device.

        Args:
            volume: The scan.
            lung_mask: File of its lungs, labels 3 and 4; None to find them.
            seconds: Wall time of earlier steps, such as reading.

        Raises:
            AnnotationError: The mask cannot belong to this scan.
        """
        started = time.perf_counter()
        lungs = lungs_of_scan(lung_mask, volume)
        record, arrays = prepare_case(
            volume, lungs, spacing_mm=self.info.spacing_mm
        )
        return InferenceCase(
            record,
            arrays,
            find_sides(lungs),
            volume.slices,
            {**(seconds or {}), 'prepare': time.perf_counter() - started},
        )

    def detect(
        self, case: InferenceCase, on_windows: OnWindows | None = None
    ) -> SeriesResult:
        """The detections in a case that the selection keeps.

        ``lungdet.exporters.export_result`` writes it.

        Args:
            case: As returned by ``prepare``.
            on_windows: Called with (done, all) after each batch of windows.
        """
        started = time.perf_counter()
        record, arrays = case.record, case.arrays
        predictions = self.predict(
            record, arrays['image'], arrays['lungs'], on_windows
        )
        every = predictions.to_result(
            record.series_uid,
            record.geometry,
            source_geometry=record.source_geometry,
        )
        result = self.selection.apply(
            replace(every, caveats=[*record.caveats])
        )
        is_unread = self.score_thr is None
        is_default = self.selection.score_thr == SCORE_THR
        unread = [UNREAD_THR] if is_unread and is_default else []
        network = time.perf_counter() - started
        result = replace(
            result,
            caveats=[*result.caveats, *unread],
            model=self.info,
            run=self._run_info(
                {**case.seconds, 'network': network}, predictions.windows
            ),
            slices=case.slices,
        )
        return locate(result, case.sides)

    def _run_info(
        self, seconds: Mapping[str, float], windows: tuple[int, int] | None
    ) -> RunInfo:
        return RunInfo(
            created=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            lungdet_version=lungdet.__version__,
            device=self.device,
            backend=self.backend,
            precision=self.precision,
            seconds={name: round(value, 3) for name, value in seconds.items()},
            memory_format=self.memory_format,
            windows=windows,
        )

    def predict(
        self,
        case: CaseRecord,
        hu: np.ndarray,
        lungs: np.ndarray | None = None,
        on_windows: OnWindows | None = None,
    ) -> CasePredictions:
        """Everything that is detected in a prepared case.

        Args:
            case: Its record.
            hu: int16 (z, y, x) on ``case.geometry``.
            lungs: The same, above 0 in the lungs: boxes farther from them
                than the selection's margin are dropped; None keeps them.
            on_windows: Called with (done, all) after each batch of windows.
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
        with (
            torch.inference_mode(),
            watch_windows(self.model, sample, on_windows),
        ):
            (sample,) = self.model.test_step(batch)
        return CasePredictions.of(dict(sample.pred_instances.all_items()))


def model_score_thr(model: Any) -> float | None:
    """The score threshold of a model's test_cfg, None if it has none."""
    return (getattr(model, 'test_cfg', None) or {}).get('score_thr')


def score_at_fp_rate(model: Any, rate: float) -> float:
    """The score above which a model makes a given number of false positives
    per scan.

    Args:
        model: Its test_cfg may hold ``score_thrs``, scores by rate, read from
            a FROC curve of scans that it was not trained on.
        rate: False positives per scan.

    Raises:
        ConfigError: It holds none for this rate.
    """
    scores = (getattr(model, 'test_cfg', None) or {}).get('score_thrs') or {}
    for known, score in scores.items():
        if math.isclose(float(known), rate):
            return float(score)
    have = ', '.join(map(str, scores)) or 'none'
    raise ConfigError(
        f'false positives per scan: {rate:g}, but the model knows its score '
        f'at {have} (test_cfg.score_thrs); give a score instead, such as one '
        'of thresholds in froc.json.'
    )


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
