from __future__ import annotations

from lungdet.exporters import EXPORTERS


def test_no_two_formats_write_the_same_file() -> None:
    files = [
        file for exporter in EXPORTERS.values() for file in exporter.files
    ]

    assert len(files) == len(set(files))
