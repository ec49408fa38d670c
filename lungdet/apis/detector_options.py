"""A detector and its selection of detections, as plain values.

They can be sent to another process, which then builds the detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lungdet.errors import ConfigError
from lungdet.evaluation import Selection

if TYPE_CHECKING:
    from lungdet.apis.inferencer import NoduleInferencer


@dataclass(frozen=True)
class DetectorOptions:
    """A detector that is not loaded yet.

    Attributes:
        model: As ``resolve_checkpoint`` takes it; None for the shipped one.
        imports: Modules that register classes of the user.
        device: As torch names it, or ``'auto'``.
        precision: ``'auto'``, ``'fp32'`` or ``'bf16'``.
        backend: What computes the network, see ``NoduleInferencer``.
        selection: What replaces rules of the detector's usual
            ``Selection``, by name; None to keep every detection.
        fp_rate: Keep detections from the score of this many false positives
            per scan, in place of ``score_thr``.

    Raises:
        ConfigError: An invalid rule.
    """

    model: Path | None = None
    imports: Sequence[str] = ()
    device: str = 'auto'
    precision: str = 'auto'
    backend: str = 'torch'
    selection: Mapping[str, float] | None = field(default_factory=dict)
    fp_rate: float | None = None

    def __post_init__(self) -> None:
        self.selected(Selection())  # refused before weights are read

    def selected(self, usual: Selection) -> Selection:
        """The rules that drop detections.

        Args:
            usual: Selection of the detector.
        """
        if self.selection is None:
            return Selection(None, None, None)
        return replace(usual, **self.selection)

    def build(self) -> NoduleInferencer:
        """Load the detector.

        Raises:
            CheckpointError: The file is not a lungdet detector.
            ConfigError: No such module, device, precision or backend, or a
                rate of false positives whose score the model does not know.
        """
        from lungdet.apis.inferencer import NoduleInferencer, score_at_fp_rate

        for name in self.imports:
            import_user_module(name)
        made = NoduleInferencer(
            self.model,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
        )
        made.selection = self.selected(made.selection)
        if self.fp_rate is not None:
            score = score_at_fp_rate(made.model, self.fp_rate)
            made.selection = replace(made.selection, score_thr=score)
        return made


def import_user_module(name: str) -> None:
    """Import a module that registers classes of the user.

    Args:
        name: Dotted, as in an import statement.

    Raises:
        ConfigError: It cannot be imported.
    """
    try:
        import_module(name)
    except ImportError as error:
        raise ConfigError(
            f'--import {name}: {error}; check the name and PYTHONPATH.'
        ) from error
    except Exception as error:  # any error in the code of the module
        raise ConfigError(
            f'--import {name}: raises {type(error).__name__}: {error}; '
            'correct the module.'
        ) from error
