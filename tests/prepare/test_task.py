from __future__ import annotations

import json
from pathlib import Path

import pytest

from lungdet.prepare.discover import ScanSource
from lungdet.prepare.label_image import LabelImageReferences
from lungdet.prepare.outlines import OutlineReferences
from lungdet.prepare.references import ReferenceSource, TableReferences
from lungdet.prepare.task import ScanTask, case_settings
from lungdet.prepare.world_boxes import BoxReferences
from lungdet.structures import Annotation


def test_excluded_findings_are_part_of_the_settings() -> None:
    def settings(x: float) -> dict:
        finding = Annotation((x, 2.0, 3.0), None)
        source = ScanSource('a', Path(__file__))
        return case_settings(ScanTask(source, excluded=(finding,)), 1.0)

    assert settings(1.0) == settings(1.0)
    assert settings(1.0) != settings(1.5)


HERE = Path(__file__)
ROW = Annotation((1.0, 2.0, 3.0), 4.0, 2)


@pytest.mark.parametrize(
    'references',
    [
        TableReferences((ROW,)),
        OutlineReferences(HERE, (ROW,)),
        BoxReferences(((1.0, 2.0, 3.0, 4.0, 5.0, 6.0),)),
        LabelImageReferences(HERE),
    ],
)
def test_settings_are_equal_to_what_a_case_stores_of_them(
    references: ReferenceSource,
) -> None:
    task = ScanTask(ScanSource('a', HERE), references, (ROW,))

    settings = case_settings(task, 1.0)

    assert json.loads(json.dumps(settings)) == settings


def test_the_files_of_a_task_are_all_that_is_read(tmp_path: Path) -> None:
    scan, lungs, xml, labels = (tmp_path / name for name in 'abcd')
    source = ScanSource('a', scan)

    assert ScanTask(source, TableReferences((ROW,))).files == (scan,)
    task = ScanTask(source, OutlineReferences(xml, (ROW,)), lung_mask=lungs)
    assert task.files == (scan, lungs, xml)
    task = ScanTask(source, LabelImageReferences(labels))
    assert task.files == (scan, labels)
    boxes = BoxReferences(((1.0, 2.0, 3.0, 4.0, 5.0, 6.0),))
    assert ScanTask(source, boxes).files == (scan,)
