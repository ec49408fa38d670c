"""Hard negative mining: false positives of the model on training scans."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import barrier
from mmengine.hooks import EMAHook, Hook
from numpy.typing import ArrayLike

from lungdet.data_sample import DetDataSample
from lungdet.engine.distributed import from_all_ranks
from lungdet.engine.hooks import unwrapped
from lungdet.engine.protocols import (
    CaseDetector,
    FollowsEpochs,
    MinesHardNegatives,
)
from lungdet.engine.screen import say
from lungdet.errors import CheckpointError, ConfigError
from lungdet.evaluation.selection import LUNG_MARGIN_MM
from lungdet.geometry import UNKNOWN_DIAMETER_MM, points_in_spheres
from lungdet.io.case_store import CaseStore
from lungdet.io.digests import sha256_of
from lungdet.io.hard_negatives import (
    HardNegative,
    HardNegativeBank,
    bank_files,
    bank_of_epoch,
)
from lungdet.ops import centers_near_mask
from lungdet.registry import HOOKS
from lungdet.structures import Annotation, CaseNodule, CaseRecord


@HOOKS.register_module()
class HardNegativeHook(Hook):
    """Run the model on whole training scans and keep its false positives.

    They become the centres of the data set's ``mined`` crops. With an
    ``EMAHook``, the averaged weights are used. Scans are distributed over the
    ranks. The bank is written to the work folder, and its digest to the
    checkpoint.

    Args:
        at: When to mine, as fractions of the training; rounded to epochs.
        per_scan: Number of false positives to keep per scan, those with the
            highest scores.
        lung_margin_mm: False positives farther outside the lungs are dropped;
            None keeps all.

    Raises:
        ConfigError: ``at`` is empty, or a fraction is not between 0 and 1.
    """

    def __init__(
        self,
        at: Sequence[float] = (0.4, 0.7),
        per_scan: int = 50,
        *,
        lung_margin_mm: float | None = LUNG_MARGIN_MM,
    ) -> None:
        if not at or not all(0 < fraction < 1 for fraction in at):
            raise ConfigError(
                f'HardNegativeHook.at: {at}; give fractions of the training '
                'between 0 and 1.'
            )
        self.at = tuple(at)
        self.per_scan = per_scan
        self.lung_margin_mm = lung_margin_mm
        self.resumed: dict[str, str] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.resumed = checkpoint.get('hard_negatives')

    def before_train(self, runner: Any) -> None:
        """Check the bank of a resumed run, and connect the data set to it."""
        done = runner.epoch
        if not runner.rank:
            # banks of a run that was killed before its next checkpoint
            for epoch, path in bank_files(runner.work_dir).items():
                if epoch > done or not runner.iter:
                    path.unlink()
        barrier()
        if runner.iter:
            _check_bank(Path(runner.work_dir), done, self.resumed)
        _mining_data(runner).follow_bank(Path(runner.work_dir))

    def after_train_epoch(self, runner: Any) -> None:
        done = runner.epoch + 1
        if done in mining_epochs(self.at, runner.max_epochs):
            self._mine(runner, done)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        epoch = checkpoint['meta']['epoch']
        path = bank_of_epoch(runner.work_dir, epoch)
        if path is not None:
            named = {'file': path.name, 'digest': sha256_of(path)}
            checkpoint['hard_negatives'] = named

    def _mine(self, runner: Any, done: int) -> None:
        started = time.monotonic()
        scans = _mining_data(runner).scans_to_mine
        metainfo = runner.train_dataloader.dataset.metainfo
        refuse_held_out((uid for _, uid in scans), metainfo['test_series'])
        runner.average_buffers()  # else each rank mines with its own
        model = _model_to_mine(runner, done)
        of_rank = [
            (uid, self.false_positives(model, store, uid))
            for store, uid in scans[runner.rank :: runner.world_size]
        ]
        negatives = dict(from_all_ranks(of_rank))
        if not runner.rank:
            bank = HardNegativeBank(done, dict(sorted(negatives.items())))
            bank.write(runner.work_dir)
            count = sum(len(of_scan) for of_scan in negatives.values())
            say(
                f'hard negatives: {count} false positives on {len(scans)} '
                f'training scans, {time.monotonic() - started:.0f} s'
            )
        barrier()

    @torch.no_grad()
    def false_positives(
        self, model: CaseDetector, store: CaseStore, uid: str
    ) -> tuple[HardNegative, ...]:
        """The model's false positives on a scan, by descending score.

        Args:
            model: Detector in evaluation mode.
            store: Case store.
            uid: Series uid of the case.
        """
        record, margin_mm = store.records[uid], self.lung_margin_mm or 0.0
        lungs, sample = None, DetDataSample()
        if self.lung_margin_mm is not None:
            # so that the cap applies to detections near the lungs only
            lungs = store.read(uid, 'lungs')
            sample.lungs = torch.from_numpy(lungs > 0)
            sample.set_metainfo({'lung_margin': margin_mm / record.spacing_mm})
        case = torch.from_numpy(store.read(uid, 'image'))[None]
        detections = model.predict_case(case, sample)
        negatives = negatives_among(
            record,
            detections.bboxes.numpy(),
            detections.scores.numpy(),
            lungs=lungs,
            lung_margin_mm=margin_mm,
        )
        return negatives[: self.per_scan]


def mining_epochs(at: Sequence[float], max_epochs: int) -> set[int]:
    """Numbers of epochs after which to mine; never 0 or the last.

    Args:
        at: Fractions of the training.
        max_epochs: Number of epochs of the training.

    Examples:
        >>> sorted(mining_epochs((0.4, 0.7), 30)), mining_epochs((0.4,), 1)
        ([12, 21], set())
    """
    epochs = {max(round(fraction * max_epochs), 1) for fraction in at}
    return {epoch for epoch in epochs if epoch < max_epochs}


def negatives_among(
    record: CaseRecord,
    boxes: np.ndarray,
    scores: np.ndarray,
    *,
    lungs: np.ndarray | None,
    lung_margin_mm: float,
) -> tuple[HardNegative, ...]:
    """Detections in or near the lungs that lie in no nodule and no excluded
    finding.

    Args:
        record: Record of the case.
        boxes: (K, 6) edge boxes in voxels of the case.
        scores: (K,).
        lungs: Lung mask (z, y, x), above 0 inside; None for no restriction to
            the lungs.
        lung_margin_mm: Largest distance of a centre from the lungs.

    Returns:
        Hard negatives by descending score; equal scores keep their order.
    """
    centers = record.geometry.box_center_world(boxes)
    at_finding = _in_findings(record, centers)
    sides = (boxes[:, 3:] - boxes[:, :3]).astype(float).clip(min=1e-3)
    diameters = sides.prod(1) ** (1 / 3) * record.spacing_mm
    is_near = np.ones(len(boxes), dtype=bool)
    if lungs is not None:
        is_near = centers_near_mask(
            torch.from_numpy(boxes),
            torch.from_numpy(lungs > 0),
            lung_margin_mm / record.spacing_mm,
        ).numpy()
    negatives = []
    for k in np.argsort(-scores, kind='stable'):
        x, y, z = centers[k].tolist()
        if at_finding[k] or not is_near[k]:
            continue
        negatives.append(
            HardNegative((x, y, z), float(diameters[k]), float(scores[k]))
        )
    return tuple(negatives)


def refuse_held_out(uids: Iterable[str], held_out: Iterable[str]) -> None:
    """Check that no held-out scan is mined.

    Raises:
        ConfigError: ``uids`` contains a held-out scan.
    """
    both = sorted(set(uids) & set(held_out))
    if both:
        raise ConfigError(
            f'hard negatives: {len(both)} scans of the test, such as '
            f'{both[0]}, would be mined, which would make its results too '
            'optimistic. Give the data set training scans only.'
        )


def _in_findings(record: CaseRecord, points_mm: ArrayLike) -> np.ndarray:
    """Whether each of the points (K, 3) lies in a nodule or an excluded
    finding."""
    known: list[CaseNodule | Annotation] = [*record.nodules, *record.excluded]
    inside = points_in_spheres(
        np.array([one.center_mm for one in known]),
        np.array([one.diameter_mm or UNKNOWN_DIAMETER_MM for one in known]),
        points_mm,
    )
    return np.asarray(inside.any(0))


def _mining_data(runner: Any) -> MinesHardNegatives:
    dataset = runner.train_dataloader.dataset
    if not isinstance(dataset, MinesHardNegatives):
        raise ConfigError(
            f'HardNegativeHook: {type(dataset).__name__} has no mined crops; '
            'train with a LUNA16Dataset, or leave out the hook.'
        )
    if not dataset.scans_to_mine:
        raise ConfigError(
            'HardNegativeHook: the training data have no mined crops; set '
            'crops=dict(mined=...), or leave out the hook.'
        )
    return dataset


def _model_to_mine(runner: Any, done: int) -> Any:
    """The model in evaluation mode, with averaged weights if there are any.

    The copy with the averaged weights is not a part of the model, so its epoch
    is set here.
    """
    averages = [h for h in runner.hooks if isinstance(h, EMAHook)]
    model = unwrapped(runner.model)
    if averages:
        model = averages[0].ema_model.module
    if not isinstance(model, CaseDetector):
        raise ConfigError(
            f'HardNegativeHook: {type(model).__name__} is not a detector of '
            'whole cases; leave out the hook.'
        )
    if isinstance(model, FollowsEpochs):
        model.set_epoch(done)
    return model.eval()  # type: ignore[attr-defined]


def _check_bank(
    folder: Path, done: int, resumed: dict[str, str] | None
) -> None:
    """Check that the bank in the work folder is that of the checkpoint.

    Raises:
        CheckpointError: It is missing, or differs.
    """
    path = bank_of_epoch(folder, done)
    here = path and {'file': path.name, 'digest': sha256_of(path)}
    if here != resumed:
        wanted = 'none' if resumed is None else resumed['file']
        raise CheckpointError(
            f'{folder}: the checkpoint was trained with hard negatives of '
            f'{wanted}, but the folder has '
            f'{"none" if path is None else f"another {path.name}"}, so the '
            'training would continue with other crops. Copy the file from the '
            "checkpoint's folder, or start a new run from its weights with "
            'load_from.'
        )
