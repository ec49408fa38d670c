"""Tests of the service; they are skipped where its libraries are not."""

import pytest

for library in ('fastapi', 'uvicorn', 'python_multipart', 'httpx2'):
    pytest.importorskip(library)
