from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData

from lungdet.apis.window_progress import watch_windows
from lungdet.data_sample import DetDataSample
from lungdet.engine.detector import load_detector


def test_every_window_is_counted_once(trained: Path) -> None:
    model = load_detector(trained).model
    case = torch.full((1, 40, 44, 70), -850.0)
    windows = len(model.case_predictor().windows(case))
    told: list[tuple[int, int]] = []

    sample = DetDataSample(metainfo={'img_shape': (40, 44, 70)})
    with watch_windows(model, sample, lambda *w: told.append(w)):
        watched = model.predict_case(case)
    count = len(told)
    alone = model.predict_case(case)

    assert windows > 4  # more than one batch
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (windows, windows)
    assert len(told) == count  # the hook is gone
    assert torch.equal(watched.bboxes, alone.bboxes)


@pytest.mark.parametrize('model', [object(), InstanceData()])
def test_a_detector_without_windows_reports_nothing(model: object) -> None:
    told: list[tuple[int, int]] = []

    sample = DetDataSample(metainfo={'img_shape': (8, 8, 8)})
    with watch_windows(model, sample, lambda *w: told.append(w)):
        pass

    assert not told
