"""Tests of the service, skipped where its libraries are not installed."""

import pytest

for library in ('fastapi', 'uvicorn', 'python_multipart', 'httpx2'):
    pytest.importorskip(library)
