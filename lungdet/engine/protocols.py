"""What models, metrics and data sets may offer to a run.

``engine`` imports neither ``models`` nor ``datasets``; a class offers one of
these by having its members, whatever it derives from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lungdet.io.case_store import CaseStore


@runtime_checkable
class FollowsEpochs(Protocol):
    """A model with heads that start at an epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 1."""
        ...


@runtime_checkable
class FollowsTraining(Protocol):
    """A model whose inference depends on how its weights were trained."""

    def follow_training(self, train_cfg: Mapping[str, Any]) -> None:
        """Take over what the model's ``train_cfg`` said in that training."""
        ...


@runtime_checkable
class CaseDetector(Protocol):
    """A model that detects nodules in whole cases."""

    def predict_case(self, case: Any, sample: Any = None) -> Any:
        """Detections of a case (1, D, H, W) of HU, near the lungs if a
        ``DetDataSample`` has them."""
        ...


@runtime_checkable
class HasRPNHead(Protocol):
    """A detector whose dense head is an RPN."""

    rpn_head: Any


@runtime_checkable
class HasEncoder(Protocol):
    """A backbone whose encoder can start from weights alone."""

    @property
    def encoder(self) -> Sequence[str]:
        """Names of the modules that make up its encoder."""
        ...


@runtime_checkable
class BlockPlugin(Protocol):
    """A module in a backbone that may have been added to trained weights."""

    starts_as_identity: bool


@runtime_checkable
class StatesCaveats(Protocol):
    """A metric whose tables state what makes their figures doubtful."""

    def state_caveats(self, caveats: Sequence[str]) -> None:
        """Set them, before the first scan."""
        ...


@runtime_checkable
class NamesLargestSample(Protocol):
    """A data set whose samples differ in size."""

    @property
    def largest_sample(self) -> int:
        """Index of a sample that takes as much memory as any."""
        ...


@runtime_checkable
class MinesHardNegatives(Protocol):
    """A data set with crops around false positives."""

    @property
    def scans_to_mine(self) -> Sequence[tuple[CaseStore, str]]:
        """Store and series uid of each scan that such crops are cut from."""
        ...

    def follow_bank(self, folder: Path) -> None:
        """Take the hard negatives of each epoch from the banks in a folder."""
        ...
