from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from lungdet.apis.inferencer import NoduleInferencer
from lungdet.apis.store_results import STORED_FORMATS
from lungdet.errors import ConfigError
from tests.apis.remote_scans import (
    OPTIONS,
    STUDY,
    THIN,
    filled,
    folder,
    hasty,
    run_on,
    server,
    states,
    threshold,
)
from tests.dicomweb.fake_server import FakeServer
from tests.schemas import assert_valid

__all__ = ['filled', 'folder', 'hasty', 'server', 'threshold']


STORING = replace(OPTIONS, formats=('json', *STORED_FORMATS), store=True)


@pytest.fixture
def highdicom() -> None:
    pytest.importorskip('highdicom', reason="pip install 'lungdet[dicom]'")


@pytest.mark.usefixtures('highdicom')
def test_results_go_back_to_where_the_scan_came_from(
    threshold: NoduleInferencer, filled: FakeServer, tmp_path: Path
) -> None:
    before = set(filled.files)

    run = run_on(threshold, [filled.of(STUDY)], tmp_path / 'out', STORING)

    assert states(run) == {THIN: 'done'}
    folder = tmp_path / 'out' / THIN
    sent = {uid: filled.files[uid] for uid in set(filled.files) - before}
    assert sorted(sent.values()) == sorted(
        (folder / name).read_bytes() for name in ('seg.dcm', 'sr.dcm')
    )
    record = json.loads((folder / 'inference.json').read_text())
    assert_valid('inference', record)
    assert record['stored'] == dict.fromkeys(
        ('seg.dcm', 'sr.dcm'), filled.address
    )
    for content in sorted(folder.glob('*.dcm')):
        assert dcmread(content).StudyInstanceUID == STUDY


@pytest.mark.usefixtures('highdicom')
def test_what_was_not_stored_is_stored_by_the_next_run(
    threshold: NoduleInferencer, filled: FakeServer, tmp_path: Path
) -> None:
    """Without the network, under the same identifier."""
    inputs, out = [filled.of(STUDY)], tmp_path / 'out'
    filled.refused = ('1.2.840.10008.5.1.4.1.1.88.34',)  # SR

    run = run_on(threshold, inputs, out, STORING)

    assert states(run) == {THIN: 'failed'} and run.report().exit_code == 2
    reason = run.outcomes[0].reason or ''
    assert '1 of 2 files stored' in reason
    assert 'sr.dcm refused: SOP class not supported (0x0122)' in reason
    assert_valid('infer_report', run.report().to_dict())
    files = {p.name: p.read_bytes() for p in (out / THIN).glob('*.dcm')}
    filled.refused, known = (), set(filled.files)

    run = run_on(threshold, inputs, out, STORING)

    assert states(run) == {THIN: 'skipped'}
    (new,) = set(filled.files) - known
    assert filled.files[new] == files['sr.dcm']
    assert files == {
        p.name: p.read_bytes() for p in (out / THIN).glob('*.dcm')
    }
    posts = [m for m, *_ in filled.asked]
    assert posts.count('POST') == 2


def test_nothing_is_stored_of_files(
    threshold: NoduleInferencer, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f'{THIN} is a file'):
        run_on(threshold, [folder], tmp_path / 'out', STORING)
    with pytest.raises(ConfigError, match='needs the format dicom_seg and'):
        run_on(
            threshold,
            [folder],
            tmp_path / 'out',
            replace(STORING, formats=('json',)),
        )
    assert not [*(tmp_path / 'out').iterdir()]
