"""The entry points for tools, the command line and scripts.

Names are loaded at first use: scoring a submission needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lungdet.apis.ablation import ablate
    from lungdet.apis.config import load_config
    from lungdet.apis.cross_validation import cross_validate
    from lungdet.apis.inferencer import NoduleInferencer
    from lungdet.apis.run import check_training, test, train

__all__ = [
    'NoduleInferencer',
    'ablate',
    'check_training',
    'cross_validate',
    'load_config',
    'test',
    'train',
]

_MODULES = {
    'NoduleInferencer': 'inferencer',
    'ablate': 'ablation',
    'check_training': 'run',
    'cross_validate': 'cross_validation',
    'load_config': 'config',
    'test': 'run',
    'train': 'run',
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = import_module(f'{__name__}.{_MODULES[name]}')
    return getattr(module, name)
