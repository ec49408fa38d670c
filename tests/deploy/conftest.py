from tests.engine.conftest import (
    fresh_mmengine,
    tiny_config,
    tiny_store,
    trained,
)

__all__ = ['fresh_mmengine', 'tiny_config', 'tiny_store', 'trained']
