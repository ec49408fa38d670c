from tests.engine.conftest import (
    fresh_mmengine,
    genesis_config,
    tiny_config,
    tiny_store,
    trained,
)

__all__ = [
    'fresh_mmengine',
    'genesis_config',
    'tiny_config',
    'tiny_store',
    'trained',
]
