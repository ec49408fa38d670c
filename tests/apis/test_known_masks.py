from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis.inference_record import RECORD
from lungdet.apis.known_masks import is_known_mask, without_lung_masks
from lungdet.apis.scan_inputs import find_scans
from lungdet.exporters import EXPORTERS
from lungdet.prepare.discover import discover_scans


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b'-')


def listed(
    folder: Path, lung_mask: Path | None = None
) -> tuple[list[str], list[str]]:
    """Paths of the scans below a folder, and what is left out."""
    scans, left_out = find_scans(
        [folder], folder / 'unused', lung_mask=lung_mask
    )
    root = folder.resolve()
    return sorted(str(s.inner_path.relative_to(root)) for s in scans), left_out


def test_a_scan_may_be_called_like_masks(tmp_path: Path) -> None:
    """lungdet prepare, whose data sets have masks so called, goes by whole
    names."""
    scans = [
        'a.mha',
        'masks of patients/p7.mha',
        'masks.nii.gz',
        'masks_smith.mha',
        'seg-lungs.mhd',
    ]
    write(tmp_path, *scans)

    assert listed(tmp_path) == (scans, [])
    uids = [scan.uid for scan in discover_scans(tmp_path)]
    assert uids == ['a', 'masks_smith', 'p7']


def test_masks_of_luna16_and_of_results_are_no_scans(tmp_path: Path) -> None:
    write(tmp_path, 'subset0/1.2.mhd', 'seg-lungs-LUNA16/1.2.mhd')
    write(tmp_path, 'seg-lungs-LUNA16.zip')
    write(tmp_path, 'out/1.2/masks.nii.gz', f'out/1.2/{RECORD}')

    assert listed(tmp_path) == (['subset0/1.2.mhd'], [])


@pytest.mark.parametrize('exporter', ['json', 'luna16'])
def test_masks_of_a_result_that_was_not_completed_are_no_scan(
    tmp_path: Path, exporter: str
) -> None:
    (masks,) = EXPORTERS['nifti'].files
    write(tmp_path, masks)

    assert not is_known_mask(tmp_path / masks)
    write(tmp_path, *EXPORTERS[exporter].files)
    assert is_known_mask(tmp_path / masks)


def test_given_lung_masks_are_no_scans(tmp_path: Path) -> None:
    write(tmp_path, 'a.mha', 'sub/b.mha', 'lungs/a.mha', 'lungs/b.mha')

    assert listed(tmp_path, tmp_path / 'lungs') == (
        ['a.mha', 'sub/b.mha'],
        ['2 images given as lung masks'],
    )
    assert len(listed(tmp_path)[0]) == 4


def test_one_given_lung_mask_is_no_scan(tmp_path: Path) -> None:
    write(tmp_path, 'in/ct.mha', 'in/masks.nii.gz')
    mask = tmp_path / 'in' / 'masks.nii.gz'
    path = tmp_path / 'scans.csv'
    path.write_text('path,lung_mask\nin,in/masks.nii.gz\n')

    (scan,), left_out = find_scans([path], tmp_path / 'unused')

    assert (scan.uid, scan.lung_mask) == ('ct', mask)
    assert left_out == ['1 image given as lung masks']
    assert listed(tmp_path / 'in', mask) == (['ct.mha'], left_out)


def test_an_input_is_a_scan_even_among_lung_masks(tmp_path: Path) -> None:
    write(tmp_path, 'in/a.mha', 'in/b.mha', 'other/c.mha')
    inputs = [tmp_path / 'in' / 'a.mha', tmp_path / 'in', tmp_path / 'other']
    scans, _ = find_scans(inputs, tmp_path / 'unused')

    kept, left_out = without_lung_masks(scans, tmp_path / 'in')

    assert (kept, left_out) == (scans, [])
    assert [scan.uid for scan in kept] == ['a', 'b', 'c']
    # nothing else would be left
    within, _ = find_scans([tmp_path], tmp_path / 'unused')
    only = [scan for scan in within if scan.uid != 'c']
    assert without_lung_masks(only, tmp_path / 'in') == (only, [])
