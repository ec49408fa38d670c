from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import SeriesError
from lungdet.io.case_store import CaseStore, rebuild_index
from lungdet.io.image import load_volume
from lungdet.prepare import scan
from lungdet.prepare.discover import ScanSource
from lungdet.prepare.references import TableReferences
from lungdet.prepare.scan import prepare_scan
from lungdet.prepare.task import ScanTask, case_settings
from lungdet.structures import Annotation
from tests.prepare.scans import write_scan


def test_case_holds_what_the_task_says(tmp_path: Path) -> None:
    write_scan(tmp_path / 'a.mhd')
    source = ScanSource('1.2', tmp_path / 'a.mhd', 3, caveats=('beside it',))
    nodule, finding = (Annotation((x, 20.0, 20.0), 5.0) for x in (10.0, 15.0))
    task = ScanTask(source, TableReferences((nodule,)), (finding,))

    prepare_scan(task, tmp_path / 'out', 2.0)

    rebuild_index(tmp_path / 'out')
    store = CaseStore(tmp_path / 'out')
    record = store.records['1.2']
    assert record.subset == 3 and record.spacing_mm == 2.0
    assert 'beside it' in record.caveats
    assert [n.center_mm for n in record.nodules] == [nodule.center_mm]
    assert record.excluded == [finding]
    assert record.settings == case_settings(task, 2.0)
    volume = load_volume(source.path)
    assert record.source_geometry.is_close(volume.geometry)
    image = store.read('1.2', 'image')
    np.testing.assert_allclose(image.mean(), volume.array.mean(), atol=5)


def test_name_that_names_no_file_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, 'load_volume', lambda *_, **__: pytest.fail())
    task = ScanTask(ScanSource('my scan', tmp_path / 'my scan.mhd'))

    with pytest.raises(SeriesError, match='Rename the scan'):
        prepare_scan(task, tmp_path / 'out', 1.0)
