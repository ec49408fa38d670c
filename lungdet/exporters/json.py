"""The canonical result, ``lungdet.result/3``."""

from __future__ import annotations

import json
from pathlib import Path

from lungdet.exporters.base import Exporter, ExportInput
from lungdet.io.atomic import write_text
from lungdet.io.results import RESULT, result_to_dict


def write_json(folder: Path, scan: ExportInput) -> list[str]:
    """Write all that is known about a scan, except its masks."""
    content = result_to_dict(scan.result)
    write_text(folder / RESULT, json.dumps(content, indent=1))
    return [RESULT]


EXPORTER = Exporter([RESULT], write_json, order=2)  # lists all other files
