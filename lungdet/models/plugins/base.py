"""The base class of plugins, and what each must declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mmengine.model import constant_init
from torch import Tensor, nn

from lungdet.errors import ConfigError
from lungdet.registry import did_you_mean


class AttentionPlugin(nn.Module):
    """A module inside residual blocks that keeps the shape of its input.

    ``in_channels`` is the first argument of the constructor and passed by the
    block; the others come from ``cfg``. A subclass declares the attributes
    below as class attributes; ``name`` and ``pools_over_space`` have no
    default.

    Attributes:
        name: Name of the module in its block; part of its weights' names.
        pools_over_space: Whether an output voxel depends on distant voxels
            (any mean over D, H or W). Gates then depend on the size of the
            crop, and whole-case inference warns about windows that differ in
            size from the training crops.
        starts_as_identity: Whether an untrained one returns its input in
            evaluation mode. A plugin that can optionally do so has an argument
            ``identity_start`` instead. Either can be added to a trained
            network.
        identity_start: Its value for such a plugin.
        zero_at_start: Names of the layers whose zeros make it the identity;
            ``init_weights`` sets them to zero where it starts as the identity.
            Parameters have no such name: override ``init_weights`` for them.
        changes_no_number: Arguments of the constructor that change only speed
            or memory. Weights trained with one value load with any other.

    Shape:
        (N, in_channels, D, H, W) -> the same.

    Raises:
        ConfigError: A subclass is defined without ``name`` or
            ``pools_over_space``; or its ``name`` cannot be an attribute's.
    """

    name: ClassVar[str]
    pools_over_space: ClassVar[bool]
    starts_as_identity: ClassVar[bool] = False
    zero_at_start: ClassVar[tuple[str, ...]] = ()
    changes_no_number: ClassVar[tuple[str, ...]] = ()
    identity_start: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for attribute in ('name', 'pools_over_space'):
            if not hasattr(cls, attribute):
                raise ConfigError(
                    f'{cls.__module__}.{cls.__name__}: does not declare '
                    f'{attribute!r}, which every AttentionPlugin must; give '
                    "it as a class attribute (name = 'my_attention', "
                    'pools_over_space = True where a value depends on the '
                    'whole crop, else False).'
                )
        if not str(cls.name).isidentifier():
            raise ConfigError(
                f'{cls.__module__}.{cls.__name__}: name={cls.name!r} becomes '
                'an attribute of the block; take letters, digits and '
                'underscores.'
            )

    def init_weights(self) -> None:
        """Set special initial values; called after the backbone's."""
        if self.starts_as_identity or self.identity_start:
            for name, layer in self.named_modules():
                if name in self.zero_at_start:
                    constant_init(layer, 0)

    def check_zero_at_start(self) -> None:
        """Refuse a start as the identity that would be none.

        Raises:
            ConfigError: A name in ``zero_at_start`` is no layer with weights.
        """
        if not (self.starts_as_identity or self.identity_start):
            return
        layers = [
            name
            for name, layer in self.named_modules()
            if name
            and (
                getattr(layer, 'weight', None) is not None
                or getattr(layer, 'bias', None) is not None
            )
        ]
        if isinstance(self.zero_at_start, str):
            raise ConfigError(
                f'{type(self).__name__}.zero_at_start: is a text; write '
                f'({self.zero_at_start!r},), with a comma.'
            )
        for name in self.zero_at_start:
            if name not in layers:
                raise ConfigError(
                    f'{type(self).__name__}.zero_at_start: {name!r} is none '
                    f'of its layers with weights{did_you_mean(name, layers)}, '
                    'so it would not start as the identity. They are '
                    f'{", ".join(layers) or "none"}; for a parameter of its '
                    'own, override init_weights and leave zero_at_start out.'
                )

    @classmethod
    def is_identity_when_built(cls, cfg: Mapping[str, Any]) -> bool:
        """Whether an untrained plugin of this config is the identity."""
        return cls.starts_as_identity or bool(cfg.get('identity_start', False))

    @classmethod
    def defining_config(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """A config without the arguments in ``changes_no_number``."""
        return {
            key: value
            for key, value in cfg.items()
            if key not in cls.changes_no_number
        }

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


def pooling_plugins(network: nn.Module) -> list[str]:
    """Class names of a network's plugins that pool over space, sorted."""
    return sorted(
        {
            type(module).__name__
            for module in network.modules()
            if isinstance(module, AttentionPlugin) and module.pools_over_space
        }
    )
