"""Registries of lungdet, children of mmengine's, scope ``lungdet``.

``locations`` makes a registry import its package the first time a name is
not found, so a config needs no import list for lungdet's own classes.
"""

from __future__ import annotations

import difflib
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry


class LungdetRegistry(Registry):
    """A registry whose errors name the closest known types.

    Raises:
        KeyError: Unknown type; the message lists close matches, what is
            registered, and how a user's own module gets registered.
    """

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        self.check_type(cfg)
        return super().build(cfg, *args, **kwargs)

    def check_type(self, cfg: dict, where: str = 'type') -> None:
        """Raise a KeyError with suggestions if ``cfg['type']`` is unknown."""
        name = cfg.get('type') if isinstance(cfg, dict) else None
        if not isinstance(name, str) or self.get(name) is not None:
            return
        known = sorted(set(self.module_dict) | set(self._parent_names()))
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = (
            f'; did you mean {" or ".join(map(repr, close))}?'
            if close
            else '.'
        )
        own = ', '.join(sorted(self.module_dict)) or 'none'
        raise KeyError(
            f'{where}={name!r} is not registered in lungdet.{self.name}{hint} '
            f'Registered: {own}. A class of your own must be imported '
            'through custom_imports.'
        )

    def _parent_names(self) -> list[str]:
        return list(self.parent.module_dict) if self.parent else []


def _child(name: str, parent: str, *locations: str) -> LungdetRegistry:
    return LungdetRegistry(
        name,
        parent=getattr(mmengine_registry, parent),
        scope='lungdet',
        locations=list(locations),
    )


MODELS = _child('model', 'MODELS', 'lungdet.models')
TASK_UTILS = _child('task util', 'TASK_UTILS', 'lungdet.models')
DATASETS = _child('dataset', 'DATASETS', 'lungdet.datasets')
DATA_SAMPLERS = _child('data sampler', 'DATA_SAMPLERS', 'lungdet.engine')
TRANSFORMS = _child('transform', 'TRANSFORMS', 'lungdet.datasets')
METRICS = _child('metric', 'METRICS', 'lungdet.engine')
HOOKS = _child('hook', 'HOOKS', 'lungdet.engine')
LOOPS = _child('loop', 'LOOPS', 'lungdet.engine')
RUNNERS = _child('runner', 'RUNNERS', 'lungdet.engine')
OPTIM_WRAPPERS = _child('optim_wrapper', 'OPTIM_WRAPPERS', 'lungdet.engine')
# nothing of ours is in these; without them mmengine warns at each build
OPTIMIZERS = _child('optimizer', 'OPTIMIZERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', 'OPTIM_WRAPPER_CONSTRUCTORS'
)
PARAM_SCHEDULERS = _child('parameter scheduler', 'PARAM_SCHEDULERS')
VISBACKENDS = _child('vis_backend', 'VISBACKENDS')
