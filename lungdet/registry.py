"""Registries of lungdet, children of mmengine's, scope ``lungdet``.

``locations`` makes a registry import its package the first time a name is
not found, so a config needs no import list for lungdet's classes.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import DefaultScope, Registry

from lungdet.errors import ConfigError

# read by mmengine's build functions, not by the class that is built
BUILD_KEYS = {'type', '_scope_', 'convert_to_iter_based'}
VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
# Python's message for a call without a required argument
MISSING = re.compile(
    r'(?:.*\.)?(\w+)\.__init__\(\) missing \d+ required .*arguments?: (.+)'
)
CHECKED: set[Callable] = set()  # build functions that already check


class LungdetRegistry(Registry):
    """A registry that takes registered names only; errors suggest close ones.

    mmengine's registry imports dotted names from any module. Names also come
    from checkpoints, and a file must not run code.
    """

    def get(self, key: str) -> Any:
        """The object registered as ``key`` here or in a parent, else None.

        A scope in front (``'mmengine.SGD'``) starts in that registry.
        """
        self.import_from_location()
        scope, name = self.split_scope_key(key)
        registry = self.root._search_child(scope) if scope else self
        while registry is not None:
            if name in registry.module_dict:
                return registry.module_dict[name]
            registry = registry.parent
        return None

    def class_of(self, cfg: Mapping[str, Any]) -> Any:
        """The object that ``cfg['type']`` names, None if it is not registered;
        a class is returned as it is."""
        kind = cfg['type']
        return self.get(kind) if isinstance(kind, str) else kind

    def check_type(self, cfg: dict, where: str = 'type') -> None:
        """Compare ``cfg['type']`` with what is registered.

        Args:
            cfg: Has a ``type``.
            where: Key of the config, for the message.

        Raises:
            ConfigError: Unknown; the message lists close matches, what is
                registered, and how to register a user's class.
        """
        name = cfg['type']
        if not isinstance(name, str) or self.get(name) is not None:
            return
        parents = list(self.parent.module_dict) if self.parent else []
        # such as torch's optimizers, to which lungdet adds none
        registered = sorted(self.module_dict) or sorted(parents)
        raise ConfigError(
            f'{where}={name!r} is not registered in lungdet.{self.name}'
            f'{did_you_mean(name, [*self.module_dict, *parents])}. '
            f'Registered: {", ".join(registered)}. A class of your own must '
            'be imported through custom_imports.'
        )

    def check_arguments(self, cfg: dict) -> None:
        """Compare a config's keys with the signature of its type.

        Raises:
            ConfigError: A key that is not an argument; the message suggests
                close ones.
        """
        function = self.class_of(cfg)
        name = getattr(function, '__name__', cfg['type'])
        check_argument_names(function, cfg.keys() - BUILD_KEYS, name)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The closest names as a question in brackets; empty if there are none."""
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
        parameters = inspect.signature(step).parameters.values()
        names += [p.name for p in parameters if p.kind not in VARIABLE]
        if all(p.kind is not Parameter.VAR_KEYWORD for p in parameters):
            break
    else:
        return None if steps else []
    return [name for name in names if name != 'self']


def check_argument_names(
    function: Any, names: Iterable[str], where: str
) -> None:
    """Compare names with those that a class or function takes.

    Args:
        function: The class or function.
        names: What it is to be called with.
        where: Names it in the message.

    Raises:
        ConfigError: A name that it does not take; the message suggests close
            ones.
    """
    known = argument_names(function)
    for name in names:
        if known is not None and name not in known:
            raise ConfigError(
                f'{where}: has no argument {name!r}'
                f'{did_you_mean(name, known)}. It takes: {", ".join(known)}.'
            )


def _missing_arguments(kind: Any, error: TypeError) -> str | None:
    """The message if a required argument is missing, else None."""
    complaint = MISSING.fullmatch(str(error))
    if complaint is None or not inspect.isclass(kind):
        return None
    constructor, names = complaint.groups()
    if constructor not in {base.__name__ for base in kind.__mro__}:
        return None  # a call in its own code
    return (
        f'{kind.__name__}: lacks {names}, which has no default; add it to the '
        f'dict with type={kind.__name__!r}.'
    )


def _checked(build: Callable) -> Callable:
    """A build function that checks a config of lungdet's scope first."""

    @functools.wraps(build)
    def build_checked(
        cfg: Any, *args: Any, registry: Registry, **kwargs: Any
    ) -> Any:
        kind = None
        if isinstance(cfg, dict) and 'type' in cfg:
            scope = cfg.get('_scope_')
            with registry.switch_scope_and_registry(scope) as target:
                if isinstance(target, LungdetRegistry):
                    target.check_type(cfg)
                    target.check_arguments(cfg)
                    kind = target.class_of(cfg)
        try:
            return build(cfg, *args, registry=registry, **kwargs)
        except TypeError as error:
            if text := _missing_arguments(kind, error):
                raise ConfigError(text) from error
            raise

    CHECKED.add(build_checked)
    return build_checked


def _child(name: str, parent: str, *locations: str) -> LungdetRegistry:
    root = getattr(mmengine_registry, parent)
    return LungdetRegistry(
        name,
        build_func=_checked(root.build_func),
        parent=root,
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
# empty, but without them mmengine warns at each build
OPTIMIZERS = _child('optimizer', 'OPTIMIZERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', 'OPTIM_WRAPPER_CONSTRUCTORS'
)
PARAM_SCHEDULERS = _child('parameter scheduler', 'PARAM_SCHEDULERS')
FUNCTIONS = _child('function', 'FUNCTIONS')
VISBACKENDS = _child('vis_backend', 'VISBACKENDS')

CHILDREN = (
    MODELS,
    TASK_UTILS,
    DATASETS,
    DATA_SAMPLERS,
    TRANSFORMS,
    METRICS,
    HOOKS,
    LOOPS,
    RUNNERS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    PARAM_SCHEDULERS,
    FUNCTIONS,
    VISBACKENDS,
)


def patch_mmengine_build() -> None:
    """Let mmengine's registries check configs of lungdet's scope.

    mmengine's Runner builds through its root registries, which find the
    child's class themselves and so bypass the child's checks. Configs of
    other scopes are built as before. Calling it again changes nothing.
    """
    for child in CHILDREN:
        root = child.root
        if root.build_func not in CHECKED:
            root.build_func = _checked(root.build_func)


def build_model(cfg: dict[str, Any]) -> Any:
    """Build the network that a config's ``model`` describes.

    Args:
        cfg: ``type`` and the arguments of a registered model.

    Returns:
        The model, in training mode, with random weights.

    Raises:
        ConfigError: A class that is not registered, or an argument that it
            does not take; the message names the closest.
    """
    with DefaultScope.overwrite_default_scope('lungdet'):
        return MODELS.build(cfg)
