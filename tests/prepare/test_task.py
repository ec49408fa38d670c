from __future__ import annotations

from pathlib import Path

from lungdet.prepare.discover import ScanSource
from lungdet.prepare.task import ScanTask, case_settings
from lungdet.structures import Annotation


def test_excluded_findings_are_part_of_the_settings() -> None:
    def settings(x: float) -> dict:
        finding = Annotation((x, 2.0, 3.0), None)
        source = ScanSource('a', Path(__file__))
        return case_settings(ScanTask(source, excluded=(finding,)), 1.0)

    assert settings(1.0) == settings(1.0)
    assert settings(1.0) != settings(1.5)
