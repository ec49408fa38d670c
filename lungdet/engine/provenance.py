"""Provenance: the scans that weights were trained on, and leakage checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lungdet
from lungdet.engine.backbone_file import read_backbone
from lungdet.engine.checkpoint import CheckpointMeta, read_checkpoint
from lungdet.engine.input_contract import InputContract
from lungdet.engine.partial_load import fill_module
from lungdet.engine.protocols import HasEncoder
from lungdet.engine.release import is_release
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import CheckpointError, ConfigError

PARTS = ('all', 'encoder')  # of a backbone, that start from weights


def training_scans(
    metainfo: Mapping[str, Any],
    loaded: TrainingScans | None,
    pretraining: Mapping[str, Any] | None,
) -> TrainingScans:
    """The scans that a checkpoint records.

    A detector is trained with labels; the scans of its backbone's
    pre-training, without labels, are stored separately as ``pretraining``.

    Args:
        metainfo: Metainfo of the training data.
        loaded: Provenance of the checkpoint that the training continues from.
        pretraining: Provenance of the backbone that it started from.
    """
    scans = TrainingScans.of_data(metainfo)
    if loaded is not None:
        scans = scans.after(loaded)
    if pretraining is not None and scans.folds is not None:
        scans = scans.after(TrainingScans.from_dict(pretraining))
    return scans


def backbone_provenance(
    *,
    method: str,
    config: str,
    contract: InputContract,
    scans: TrainingScans,
    iterations: int,
    epochs: int,
    seed: int | None,
    alarms: list[str],
) -> dict[str, Any]:
    """Provenance of an exported backbone, as JSON values.

    Args:
        method: Class of the model that was pre-trained.
        config: Its file.
        contract: Contract of the backbone's input.
        scans: All scans that it was trained on.
        iterations: Steps done.
        epochs: Epochs done.
        seed: Seed of the run.
        alarms: Alarms active when the run ended; a detector repeats them.
    """
    return {
        'method': method,
        'config': config,
        'input_contract': contract.to_dict(),
        **scans.to_dict(),
        'iterations': iterations,
        'epochs': epochs,
        'seed': seed,
        'alarms': alarms,
        'lungdet_version': lungdet.__version__,
    }


def start_backbone(
    backbone: torch.nn.Module,
    path: str | Path,
    contract: InputContract,
    parts: str = 'all',
) -> tuple[str, dict[str, Any]]:
    """Fill a detector's backbone with pre-trained weights.

    Args:
        backbone: Backbone of the detector.
        path: Path of an exported file.
        contract: Contract of the detector.
        parts: ``'all'``, or the ``'encoder'`` alone.

    Returns:
        A line with what was filled, and the file's provenance with ``parts``.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: The contracts differ, or the tensors do not fit.
        ConfigError: Unknown ``parts``, or a backbone whose encoder is not
            known.
    """
    if parts not in PARTS:
        raise ConfigError(
            f'pretrained.parts: {parts!r}; choose one of {PARTS}.'
        )
    tensors, provenance = read_backbone(path)
    stored = InputContract.from_dict(provenance['input_contract'])
    contract.check(stored, str(path))
    filled = _encoder(backbone) if parts == 'encoder' else backbone
    line = fill_module(filled, tensors, path)
    return (
        f'{line}; {provenance["method"]}, {parts}',
        {**provenance, 'parts': parts},
    )


def _encoder(backbone: torch.nn.Module) -> torch.nn.Module:
    """The modules of a backbone's encoder, by their names."""
    if not isinstance(backbone, HasEncoder):
        raise ConfigError(
            f"pretrained.parts: 'encoder', but {type(backbone).__name__} does "
            'not say which of its modules that is; give it an attribute '
            "encoder with their names, or choose 'all'."
        )
    return torch.nn.ModuleDict(
        {name: backbone.get_submodule(name) for name in backbone.encoder}
    )


@dataclass(frozen=True)
class WeightSource:
    """One of the trainings that some weights come from.

    Attributes:
        how: Completes 'the weights were ...'.
        scans: Scans that it used.
        allowed: Whether a test on them was requested; every table says so.
        remedy: What to do if it was not requested.
    """

    how: str
    scans: TrainingScans
    allowed: bool
    remedy: str

    @classmethod
    def training(cls, scans: TrainingScans, *, allowed: bool) -> WeightSource:
        """Provenance of a checkpoint.

        Args:
            scans: Scans of its metadata; those of a detector were trained on
                with labels.
            allowed: Whether a test on them was requested; pre-training with
                ``folds='all'`` also requests it.
        """
        return cls(
            'trained with labels'
            if scans.folds is None
            else 'pre-trained without labels',
            scans,
            allowed or scans.folds == 'all',
            'Test with the folds of the training, or with '
            'allow_seen_test=True, which every table says.',
        )

    @classmethod
    def pretraining(cls, provenance: Mapping[str, Any]) -> WeightSource:
        """Provenance of an exported backbone."""
        scans = TrainingScans.from_dict(provenance)
        on_all = scans.folds == 'all'
        return cls(
            "pre-trained without labels on all folds (folds='all')"
            if on_all
            else f'pre-trained ({provenance["method"]})',
            scans,
            on_all,
            'Pre-train again with the same test scans, or with '
            "train_dataloader.dataset.folds='all', which every table says.",
        )

    def check_test(self, metainfo: Mapping[str, Any]) -> str | None:
        """Compare its scans with those of a test.

        Args:
            metainfo: May have ``test_series`` and ``test_patients``.

        Returns:
            The caveat that every table must print, None if there is none.

        Raises:
            CheckpointError: They share a scan or a patient, and this was not
                requested.
        """
        tests = metainfo.get('test_series', [])
        patients = metainfo.get('test_patients', [])
        # patients also list the series that inserted nodules came from
        names = {*self.scans.series, *self.scans.patients}
        series, known = sorted(names & set(tests)), sorted(names & {*patients})
        count = f'{len(series)} of the {len(tests)} test scans'
        if self.allowed:
            return f'{self.how}, {count} among them'
        if series or known:
            raise CheckpointError(
                f'weights that were {self.how}: {count}, and {len(known)} of '
                'their known patients, were used to make them, first '
                f'{(series + known)[0]}; the test would be too optimistic. '
                f'{self.remedy}'
            )
        return None


def leakage_caveats(
    metainfo: Mapping[str, Any],
    loaded: TrainingScans | None,
    pretraining: Mapping[str, Any] | None,
    *,
    allowed: bool,
) -> list[str]:
    """Refuse weights that were trained on test scans, or return caveats.

    Args:
        metainfo: Metainfo of the data for training or testing.
        loaded: Scans of the checkpoint that the weights are from, if any.
        pretraining: Provenance of the backbone that they started from.
        allowed: Whether such a test was requested.

    Returns:
        Caveats that every table must print.

    Raises:
        CheckpointError: As ``WeightSource.check_test``.
    """
    sources = []
    if loaded is not None and metainfo.get('folds') != 'all':
        sources.append(WeightSource.training(loaded, allowed=allowed))
    if pretraining is not None:
        sources.append(WeightSource.pretraining(pretraining))
    caveats = [source.check_test(metainfo) for source in sources]
    return [caveat for caveat in caveats if caveat is not None]


def describe_weights(path: str | Path) -> dict[str, Any]:
    """What a weights file says about how it was made, as JSON values.

    Args:
        path: An exported ``.safetensors`` backbone, a release, or a
            checkpoint as ``resolve_checkpoint`` takes it.

    Returns:
        Of a backbone its provenance; of a checkpoint its ``meta`` with the
        model's type in place of its config.

    Raises:
        FileNotFoundError: There is no file.
        CheckpointError: It is none of these.
    """
    if Path(path).suffix == '.safetensors' and not is_release(path):
        return read_backbone(path)[1]
    meta = CheckpointMeta.of(read_checkpoint(path), path)
    return {**meta.to_dict(), 'model': meta.model['type']}
