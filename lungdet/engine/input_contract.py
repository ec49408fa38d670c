"""The input contract of weights, compared wherever weights are used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lungdet.engine.plain_values import plain
from lungdet.errors import CheckpointError
from lungdet.io.limits import SPACING_MM
from lungdet.registry import MODELS

# config key of each value
STATED_IN = {
    'window': 'model.data_preprocessor.window',
    'out_range': 'model.data_preprocessor.out_range',
    'spacing_mm': 'the spacing of the prepared cases',
    'plugins': 'model.backbone.plugins',
}


@dataclass(frozen=True)
class InputContract:
    """Values that pre-training, training and test must share.

    Attributes:
        window: HU that become the ends of ``out_range``.
        out_range: Values that enter the backbone.
        spacing_mm: Spacing of the prepared cases in mm; None if it is not
            known.
        plugins: Plugins of the backbone, as plain values in canonical form:
            stages of all blocks are None, tuples are lists, and arguments that
            change only speed or memory are left out.
    """

    window: tuple[float, float]
    out_range: tuple[float, float]
    spacing_mm: float | None
    plugins: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of_model(
        cls,
        model: torch.nn.Module,
        plugins: Sequence[Mapping[str, Any]] | None,
        spacing_mm: float | None,
    ) -> InputContract:
        """The contract of a model.

        Args:
            model: Has a ``data_preprocessor``.
            plugins: Plugins of the backbone's config.
            spacing_mm: Spacing of the cases that it reads, in mm.
        """
        preprocessor: Any = model.data_preprocessor
        return cls(
            tuple(preprocessor.window),
            tuple(preprocessor.out_range),
            spacing_mm,
            tuple(_plain_plugin(plugin) for plugin in plugins or ()),
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> InputContract:
        """Read what ``to_dict`` wrote.

        Raises:
            CheckpointError: It cannot be read; no network may run without it.
        """
        try:
            low, high = map(float, content['window'])
            first, last = map(float, content['out_range'])
            spacing = content['spacing_mm']
            spacing = None if spacing is None else float(spacing)
            plugins = (*content['plugins'],)
            low_mm, high_mm = SPACING_MM
            if not (
                -math.inf < low < high < math.inf
                and math.isfinite(first)
                and math.isfinite(last)
                and (spacing is None or low_mm <= spacing <= high_mm)
                and all(isinstance(plugin, dict) for plugin in plugins)
            ):
                raise ValueError('a value is out of range')
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f'input_contract: cannot be used ({type(error).__name__}: '
                f'{error}), so window and spacing of the weights are not '
                'known; the file is damaged. Give another one.'
            ) from error
        return cls((low, high), (first, last), spacing, plugins)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            'window': list(self.window),
            'out_range': list(self.out_range),
            'spacing_mm': self.spacing_mm,
            'plugins': list(self.plugins),
        }

    def check(
        self, other: InputContract, where: str, *, may_add: bool = False
    ) -> None:
        """Compare a model's contract with that of weights.

        Args:
            other: Contract of the weights.
            where: Source of the weights, for the message.
            may_add: The model may have additional plugins that start as the
                identity (by ``identity_start=True``, or ``starts_as_identity``
                of their class), which do not change the network.

        Raises:
            CheckpointError: They differ; the message has both values.
        """
        model = self._without_new_identities(other) if may_add else self
        here, there = model.to_dict(), other.to_dict()
        for name, key in STATED_IN.items():
            if here[name] != there[name]:
                raise CheckpointError(
                    f'{where}: trained with {name} {there[name]}, but here '
                    f'it is {here[name]} ({key}); the network would see '
                    'other images than those it knows. Use one value for '
                    'both.'
                )

    def _without_new_identities(self, other: InputContract) -> InputContract:
        kept = (
            plugin
            for plugin in self.plugins
            if plugin in other.plugins or not _is_identity(plugin['cfg'])
        )
        return replace(self, plugins=tuple(kept))


def backbone_plugins(model: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Plugins in a network's config; of an ensemble those of the first."""
    (model, *_) = model.get('members') or [model]
    return model['backbone'].get('plugins') or ()


def _plain_plugin(plugin: Mapping[str, Any]) -> dict[str, Any]:
    stages = plugin.get('stages')
    if stages is not None and all(stages):
        stages = None
    cfg = plugin['cfg']
    kind = MODELS.class_of(cfg)
    if kind is not None:  # a file may name a class that is not registered here
        cfg = kind.defining_config(cfg)
    return plain({**plugin, 'cfg': cfg, 'stages': stages})


def _is_identity(cfg: Mapping[str, Any]) -> bool:
    return MODELS.get(cfg['type']).is_identity_when_built(cfg)
