from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.registry import (
    DEFAULT_FORMATS,
    EXPORTERS,
    UnfitSourceError,
    check_formats,
    check_source,
    export_result,
    make_result_folder,
)

__all__ = [
    'DEFAULT_FORMATS',
    'EXPORTERS',
    'ExportInput',
    'Exporter',
    'UnfitSourceError',
    'check_formats',
    'check_source',
    'export_result',
    'make_result_folder',
]
