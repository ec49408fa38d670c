"""A run scored scan by scan, then together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungdet.errors import ConfigError
from lungdet.evaluation import CaseOptions
from lungdet.io.case_store import CaseStore
from lungdet.io.predictions import CasePredictions
from lungdet.report.evaluation_files import read_scan
from lungdet.report.run_scoring import RunScoring
from tests.engine.conftest import write_tiny_store

NOT_RESAMPLED = CaseOptions(bootstrap=0)


def test_a_stopped_run_continues_with_what_was_written(tmp_path: Path) -> None:
    store = CaseStore(write_tiny_store(tmp_path / 'cases'))
    out = tmp_path / 'out'
    whole, stopped, rest = (
        RunScoring(store, NOT_RESAMPLED, folder, caveats=('a doubt',))
        for folder in (None, out, out)
    )

    def score(run: RunScoring, *uids: str) -> list:
        return [
            run.score(
                uid,
                CasePredictions(
                    np.array([n.box for n in store.records[uid].nodules]),
                    np.array([0.9, 0.4]),
                ),
                store.records[uid].geometry.affine,
                {'loss_mask': 0.5},
            )
            for uid in uids
        ]

    score(stopped, '1.3')
    assert read_scan(out, '1.3').result.caveats == ['a doubt']
    report = rest.report(score(rest, '1.4'), ['1.3', '1.4'])

    expected = whole.report(score(whole, '1.3', '1.4'), ['1.3', '1.4'])
    assert report.to_dict() == expected.to_dict()
    assert report.result.cpm == 1.0 and report.losses['loss_mask'] == 0.5
    assert report.run_caveats == ['a doubt']
    assert (out / 'froc.json').is_file()
    with pytest.raises(ConfigError, match=r"missing: \['1\.3'\]"):
        whole.report(score(whole, '1.4'), ['1.3', '1.4'])
