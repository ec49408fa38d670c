"""Who the patient is stays out of results, records and messages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from lungdet.apis.inferencer import NoduleInferencer
from lungdet.errors import ConfigError
from tests.apis.scans import ONLY_JSON, PATIENT, run_on, states, write_patient
from tests.apis.test_inferencer import threshold

__all__ = ['threshold']


def test_who_the_patient_is_stays_out_of_everything(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    whole, broken = tmp_path / 'in' / 'DOE_JOHN', tmp_path / 'in' / 'DOE_JANE'
    write_patient(whole, '1.5')
    write_patient(broken, '1.6')
    first = sorted(broken.iterdir())[3]
    data = dcmread(first)
    data.PixelData = data.PixelData[:100]
    data.save_as(first)

    run = run_on(threshold, tmp_path / 'in', tmp_path / 'out')
    kept = run_on(
        threshold,
        tmp_path / 'in',
        tmp_path / 'phi',
        replace(ONLY_JSON, keep_phi=True),
    )

    assert states(run) == states(kept) == {'1.5': 'done', '1.6': 'failed'}
    texts = [json.dumps(run.report().to_dict())]
    texts += [p.read_text() for p in (tmp_path / 'out').glob('*/*.*')]
    for text in texts:
        assert not any(word in text for word in ('DOE', 'MRN', 'CHEST'))
    assert run.outcomes[1].reason.startswith('1.6/')
    record = json.loads((tmp_path / 'phi/1.5/inference.json').read_text())
    assert record['path'] == str(whole) and record['patient_id'] == PATIENT
    assert str(first) in kept.outcomes[1].reason


@pytest.mark.parametrize('packed', [False, True])
def test_folders_of_one_series_stay_out_of_its_error(
    threshold: NoduleInferencer, tmp_path: Path, packed: bool
) -> None:
    """Half of the slices lie in a folder, half in one beside it."""
    write_patient(tmp_path / 'in' / 'DOE', '1.5')
    (tmp_path / 'in' / 'DOE_JOHN').mkdir()
    for k, path in enumerate(sorted((tmp_path / 'in' / 'DOE').iterdir())):
        data = dcmread(path)
        data.PixelData = data.PixelData[:100]
        data.save_as(path)
        if k % 2:
            path.rename(tmp_path / 'in' / 'DOE_JOHN' / path.name)
    given = tmp_path / 'in'
    if packed:
        given = Path(shutil.make_archive(str(tmp_path / 'd'), 'zip', given))

    run = run_on(threshold, given, tmp_path / 'out')

    reason = run.outcomes[0].reason
    assert reason.startswith('1.5/') and 'cannot be read' in reason
    assert 'DOE' not in reason


def test_results_with_names_are_not_used_by_a_run_without(
    threshold: NoduleInferencer, tmp_path: Path
) -> None:
    """The other way round they are: nothing more becomes known."""
    folder = tmp_path / 'in' / 'DOE_JOHN'
    write_patient(folder, '1.5')
    copied = sorted(folder.iterdir())[3]
    shutil.copy(copied, folder / 'DOE_JOHN.dcm')  # a caveat names it
    with_names = replace(ONLY_JSON, keep_phi=True)
    given = (threshold, tmp_path / 'in', tmp_path / 'out')

    kept = run_on(*given, with_names)
    with pytest.raises(ConfigError) as refused:
        run_on(*given)
    skipped = run_on(*given, with_names)
    made = run_on(*given, replace(ONLY_JSON, overwrite=True))
    later = run_on(*given, with_names)

    assert 'DOE' in ''.join(kept.outcomes[0].caveats)
    assert str(refused.value) == (
        f'{tmp_path}/out/1.5: holds a result of a run with --keep-phi, with '
        'paths that may name the patient; give --keep-phi again, another '
        'folder by --out, or replace it by --overwrite.'
    )
    assert states(skipped) == states(later) == {'1.5': 'skipped'}
    assert states(made) == {'1.5': 'done'}
    for run in (made, later):
        assert 'DOE' not in json.dumps(run.report().to_dict())
