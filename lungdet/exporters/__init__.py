from lungdet.exporters.base import Exporter, ExportInput
from lungdet.exporters.registry import (
    DEFAULT_FORMATS,
    EXPORTERS,
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
    'check_formats',
    'check_source',
    'export_result',
    'make_result_folder',
]
