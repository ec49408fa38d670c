"""Registries of lungdet, children of mmengine's, scope ``lungdet``.

``locations`` makes a registry import its package the first time a name is
not found, so a config needs no import list for lungdet's own classes.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from lungdet.errors import ConfigError

# read by mmengine's build functions, not by the class that is built
BUILD_KEYS = {'type', '_scope_', 'convert_to_iter_based'}
VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class LungdetRegistry(Registry):
    """A registry of registered names alone, whose errors name the closest.

    mmengine's takes a dotted name for an object of any module and imports
    it. Names come from checkpoints too, and a file must not run code.
    """

    def get(self, key: str) -> Any:
        """What is registered as ``key`` here or in a parent, None if nothing.

        A scope in front (``'mmengine.SGD'``) starts in that registry.
        """
        self.import_from_location()
        scope, name = self.split_scope_key(key)
        place = self.root._search_child(scope) if scope else self
        while place is not None:
            if name in place.module_dict:
                return place.module_dict[name]
            place = place.parent
        return None

    def check_type(self, cfg: dict, where: str = 'type') -> None:
        """Compare ``cfg['type']`` with what is registered.

        Args:
            cfg: Names its type.
            where: Names the place in the message.

        Raises:
            ConfigError: Unknown; the message lists close matches, what is
                registered, and how a user's own module gets registered.
        """
        name = cfg['type']
        if not isinstance(name, str) or self.get(name) is not None:
            return
        parents = list(self.parent.module_dict) if self.parent else []
        own = ', '.join(sorted(self.module_dict)) or 'none'
        raise ConfigError(
            f'{where}={name!r} is not registered in lungdet.{self.name}'
            f'{did_you_mean(name, [*self.module_dict, *parents])}. '
            f'Registered: {own}. A class of your own must be imported '
            'through custom_imports.'
        )

    def check_arguments(self, cfg: dict) -> None:
        """Compare a config's keys with the signature of its type.

        Raises:
            ConfigError: A key that is no argument; with the closest ones.
        """
        name = cfg['type']
        found = self.get(name) if isinstance(name, str) else name
        known = argument_names(found)
        for key in cfg.keys() - BUILD_KEYS:
            if known is not None and key not in known:
                raise ConfigError(
                    f'{getattr(found, "__name__", name)}: has no argument '
                    f'{key!r}{did_you_mean(key, known)}. It takes: '
                    f'{", ".join(known)}.'
                )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A half-sentence with the closest names, empty without any."""
    close = difflib.get_close_matches(word, list(known), n=3)
    return f' (did you mean {" or ".join(map(repr, close))}?)' if close else ''


def argument_names(function: Any) -> list[str] | None:
    """Names that a class or function takes, None if it takes any.

    What a constructor collects in ``**kwargs`` goes to the next class in
    line that has one.
    """
    steps = [function]
    if inspect.isclass(function):
        classes = function.__mro__[:-1]
        steps = [vars(c)['__init__'] for c in classes if '__init__' in vars(c)]
    names: list[str] = []
    for step in steps:
        found = inspect.signature(step).parameters.values()
        names += [p.name for p in found if p.kind not in VARIABLE]
        if all(p.kind is not Parameter.VAR_KEYWORD for p in found):
            break
    else:
        return None if steps else []
    return [name for name in names if name != 'self']


def _checked(build: Callable) -> Callable:
    """Check a config of ours before ``build`` sees it.

    mmengine's Runner builds through the root registries, which look the
    child up themselves; so the check stands in their build function.
    """

    @functools.wraps(build)
    def build_checked(
        cfg: Any, *args: Any, registry: Registry, **kwargs: Any
    ) -> Any:
        if isinstance(cfg, dict) and 'type' in cfg:
            scope = cfg.get('_scope_')
            with registry.switch_scope_and_registry(scope) as target:
                if isinstance(target, LungdetRegistry):
                    target.check_type(cfg)
                    target.check_arguments(cfg)
        return build(cfg, *args, registry=registry, **kwargs)

    return build_checked


def _child(name: str, parent: str, *locations: str) -> LungdetRegistry:
    root = getattr(mmengine_registry, parent)
    root.build_func = _checked(root.build_func)
    return LungdetRegistry(
        name, parent=root, scope='lungdet', locations=list(locations)
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
FUNCTIONS = _child('function', 'FUNCTIONS')
VISBACKENDS = _child('vis_backend', 'VISBACKENDS')
