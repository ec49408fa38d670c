"""DICOMweb client: list and fetch CT series, and store results.

Needs httpx, which is in the extra ``[dicom]``.
"""

from lungdet.dicomweb.address import Address, is_address, parse_address
from lungdet.dicomweb.errors import ServerError
from lungdet.dicomweb.series import (
    RemoteSeries,
    fetch_series,
    list_remote_series,
)
from lungdet.dicomweb.server import PATIENCE, Patience
from lungdet.dicomweb.store import StoreOutcome, store_files

__all__ = [
    'PATIENCE',
    'Address',
    'Patience',
    'RemoteSeries',
    'ServerError',
    'StoreOutcome',
    'fetch_series',
    'is_address',
    'list_remote_series',
    'parse_address',
    'store_files',
]
