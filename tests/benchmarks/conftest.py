from tests.engine.conftest import fresh_mmengine, tiny_store

__all__ = ['fresh_mmengine', 'tiny_store']
