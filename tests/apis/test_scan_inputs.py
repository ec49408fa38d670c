from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from lungdet.apis import scan_inputs
from lungdet.apis.private_names import digest
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_inputs import find_scans
from lungdet.errors import AnnotationError, LungdetError, SeriesError
from lungdet.io.image import load_volume
from tests.dicom_series import labelled, write_series, write_slice

HU = np.full((26, 16, 24), -800.0)


def series(
    folder: Path, uid: str, study: str, step: float, **tags: object
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    edit = labelled(StudyInstanceUID=study, SliceThickness=step, **tags)
    for k, plane in enumerate(HU):
        write_slice(
            folder, k, plane, series=uid, edit=edit, name=f'{uid}-{k}.dcm'
        )


def names(scans: list[ScanInput]) -> list[str]:
    return [scan.uid for scan in scans]


def scans_of(tmp_path: Path, *inputs: Path, **options: object):
    return find_scans(inputs, tmp_path / 'scratch', **options)[0]


def test_a_tree_of_everything(tmp_path: Path) -> None:
    tree = tmp_path / 'tree'
    series(tree / 'dicom' / 'deep', '1.5', '9', 2.0)
    for name in ('b.mhd', 'a.nii.gz', 'notes.txt', '._c.mha'):
        (tree / name).write_bytes(b'-')
    shutil.make_archive(str(tree / 'packed'), 'zip', tree, 'dicom')
    shutil.rmtree(tree / 'dicom')
    series(tree / 'plain', '1.4', '8', 2.0)

    scans = scans_of(tmp_path, tree)

    assert names(scans) == ['1.4', '1.5', 'a', 'b']
    packed = scans[1]
    assert (packed.path, packed.member) == (tree / 'packed.zip', 'dicom/deep')
    with packed.opened(tmp_path / 'scratch') as path:
        assert path != tree and len(list(path.iterdir())) == len(HU)
        volume = load_volume(path, series_uid=packed.series_uid)
    assert volume.array.shape == HU.shape
    assert not path.exists()
    assert not any((tmp_path / 'scratch').iterdir())


def test_a_line_end_in_a_name_is_shown_by_its_code(tmp_path: Path) -> None:
    """Tables with the name can then be read again."""
    (tmp_path / 'a\nb.nii.gz').write_bytes(b'-')

    scans = scans_of(tmp_path, tmp_path / 'a\nb.nii.gz')

    assert names(scans) == ['a\\nb']


def test_one_series_of_each_examination_wherever_it_lies(
    tmp_path: Path,
) -> None:
    """The same series in one folder and in one folder each."""
    for k, folder in enumerate(('', 'a', 'b')):
        series(tmp_path / 'apart' / folder, f'1.{k}', '9', 1.0 + k)
        series(tmp_path / 'flat', f'1.{k}', '9', 1.0 + k)
    series(tmp_path / 'flat', '2.1', '7', 5.0)

    (apart,) = scans_of(tmp_path, tmp_path / 'apart')
    flat, other = scans_of(tmp_path, tmp_path / 'flat')

    assert (apart.uid, flat.uid, other.uid) == ('1.0', '1.0', '2.1')
    for scan in (apart, flat):
        assert '26 slices of 1 mm' in scan.caveats[0]
        assert 'left out: 1.1, 1.2' in scan.caveats[0]
    assert not other.caveats


def test_series_are_asked_for_by_name(tmp_path: Path) -> None:
    series(tmp_path / 'in', '1.1', '9', 1.0)
    series(tmp_path / 'in', '1.2', '9', 2.0)
    (tmp_path / 'in' / 'c.mha').write_bytes(b'-')

    scans = scans_of(tmp_path, tmp_path / 'in', series=['1.2', 'c'])

    assert names(scans) == ['1.2', 'c']
    with pytest.raises(SeriesError, match='no series 1.3'):
        scans_of(tmp_path, tmp_path / 'in', series=['1.2', '1.3'])


def test_series_that_a_list_names_are_all_used(tmp_path: Path) -> None:
    """Beside the thinnest if the folder is an input too, in any order."""
    for k in range(4):
        series(tmp_path / 'd', f'1.{k}', '9', 1.0 + 0.5 * k)
    path = tmp_path / 'scans.csv'
    path.write_text('path,seriesuid\nd,1.1\nd,1.2\n')

    listed = scans_of(tmp_path, path)
    beside = scans_of(tmp_path, tmp_path / 'd', path)
    path.write_text('path,seriesuid\nd,1.0\nd,1.2\n')
    thinnest = scans_of(tmp_path, path, tmp_path / 'd')

    assert names(listed) == ['1.1', '1.2']
    assert not any(scan.caveats for scan in listed)
    assert names(beside) == ['1.0', '1.1', '1.2']
    assert beside[0].caveats[0].endswith('left out: 1.3')
    assert not beside[1].caveats and not beside[2].caveats
    assert names(thinnest) == ['1.0', '1.2']
    assert thinnest[0].caveats[0].endswith('left out: 1.1, 1.3')


def test_thick_series_that_a_list_names_need_no_choice(
    tmp_path: Path,
) -> None:
    series(tmp_path / 'd', '1.1', '9', 5.0)
    series(tmp_path / 'd', '1.2', '9', 6.0)
    shutil.copytree(tmp_path / 'd', tmp_path / 'copy')
    path = tmp_path / 'scans.csv'
    path.write_text('path,seriesuid\nd,1.1\nd,1.2\n')

    scans = scans_of(tmp_path, tmp_path / 'copy', path)

    assert names(scans) == ['1.1', '1.2']
    assert not any(scan.defect for scan in scans)


def test_thick_series_need_a_choice(tmp_path: Path) -> None:
    series(tmp_path / 'in', '1.1', '9', 5.0)
    series(tmp_path / 'in', '1.2', '9', 6.0)

    (scan,) = scans_of(tmp_path, tmp_path / 'in')
    (chosen,) = scans_of(tmp_path, tmp_path / 'in', series=['1.2'])

    assert scan.defect and 'choose one with --series' in scan.defect
    assert chosen.defect is None


def test_slices_of_a_series_in_several_folders(tmp_path: Path) -> None:
    for k, plane in enumerate(HU):
        folder = tmp_path / 'in' / f'disk{k % 2}'
        folder.mkdir(parents=True, exist_ok=True)
        write_slice(folder, k, plane, series='1.1')

    (scan,) = scans_of(tmp_path, tmp_path / 'in')

    assert scan.slices == len(HU)
    volume = load_volume(scan.path, series_uid=scan.series_uid)
    assert volume.array.shape == HU.shape


def halves(folder: Path, second: Path) -> None:
    """Every other slice of a series in another folder."""
    series(folder, '1.1', '9', 2.0)
    second.mkdir(parents=True)
    for path in sorted(folder.iterdir())[::2]:
        path.rename(second / path.name)


@pytest.mark.parametrize('kind', ['linked', 'deep', 'deep in an archive'])
def test_all_slices_that_are_listed_are_read(
    tmp_path: Path, kind: str
) -> None:
    """A search of the folder around them would miss a half."""
    path = tmp_path / 'in'
    if kind == 'linked':
        halves(path / 'a', tmp_path / 'else' / 'b')
        (path / 'b').symlink_to(tmp_path / 'else' / 'b')
    else:
        halves(path / 'a', path.joinpath('b', *'12345678'))
    if 'archive' in kind:
        path = Path(shutil.make_archive(str(tmp_path / 'in'), 'zip', path))

    (scan,) = scans_of(tmp_path, path)

    assert scan.slices == len(scan.files) == len(HU)
    with scan.opened(tmp_path / 'scratch') as opened:
        volume = load_volume(opened, files=scan.files_in(opened))
    assert volume.array.shape == HU.shape


def test_a_defect_in_a_part_of_a_series_is_found(tmp_path: Path) -> None:
    halves(tmp_path / 'in' / 'a', tmp_path / 'else')
    (tmp_path / 'in' / 'b').symlink_to(tmp_path / 'else')
    path = min((tmp_path / 'else').iterdir())
    data = dcmread(path)
    del data.ImagePositionPatient
    data.save_as(path)

    (scan,) = scans_of(tmp_path, tmp_path / 'in')

    with pytest.raises(SeriesError, match=f'{path.name}: ImagePositionPat'):
        load_volume(scan.path, files=scan.files_in(scan.path))


def test_other_files_do_not_harm_a_series_in_several_folders(
    tmp_path: Path,
) -> None:
    folder = tmp_path / 'in'
    halves(folder / 'a', folder / 'b')
    (folder / 'a' / 'notes.txt').write_text('-')
    (folder / 'c').mkdir()
    cut = min((folder / 'a').glob('*.dcm')).read_bytes()[:200]
    (folder / 'c' / 'cut.dcm').write_bytes(cut)

    scan, other = scans_of(tmp_path, folder)

    volume = load_volume(scan.path, files=scan.files_in(scan.path))
    assert volume.array.shape == HU.shape
    assert scan.caveats == ('files skipped: 1 not DICOM',)
    assert other.defect and 'cut' in other.defect


def test_a_list_names_scans_and_masks(tmp_path: Path) -> None:
    (tmp_path / 'a.mha').write_bytes(b'-')
    (tmp_path / 'm.mhd').write_bytes(b'-')
    series(tmp_path / 'd', '1.1', '9', 1.0)
    series(tmp_path / 'd', '1.2', '9', 2.0)
    path = tmp_path / 'scans.csv'
    path.write_text('path,seriesuid,lung_mask\na.mha,first,m.mhd\nd,1.2,\n')

    scans = scans_of(tmp_path, path)

    assert names(scans) == ['1.2', 'first']
    assert scans[1].lung_mask == tmp_path / 'm.mhd'
    path.write_text('path,seriesuid\nd,1.7\n')
    with pytest.raises(SeriesError, match=r'scans.csv:2: no scan 1.7 at'):
        scans_of(tmp_path, path)


def test_an_archive_in_an_archive_is_left_out_with_a_word(
    tmp_path: Path,
) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    (folder / 'b.mha').write_bytes(b'-')
    shutil.make_archive(str(tmp_path / 'DOE'), 'zip', folder)
    (tmp_path / 'DOE.zip').rename(folder / 'DOE.zip')
    (folder / 'b.mha').rename(folder / 'a.mha')
    packed = Path(shutil.make_archive(str(tmp_path / 'd'), 'zip', folder))

    scans, left_out = find_scans([packed], tmp_path / 'scratch')
    _, kept = find_scans([packed], tmp_path / 'scratch', keep_phi=True)

    assert names(scans) == ['a']
    assert left_out == ['an archive in an archive; unpack it']
    assert kept == ['DOE.zip in an archive; unpack it']


def test_a_list_in_a_list_is_refused(tmp_path: Path) -> None:
    """It may be the list itself."""
    path = tmp_path / 'scans.csv'
    path.write_text('path\nscans.csv\n')

    with pytest.raises(AnnotationError, match='scans.csv:2: names another'):
        scans_of(tmp_path, path)


def test_an_archive_that_may_not_be_read_is_one_scan_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, folder: Path) -> None:
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr(scan_inputs, 'extract_zip', refuse)
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'x.zip').write_bytes(b'-')
    (tmp_path / 'in' / 'a.mha').write_bytes(b'-')

    good, archive = scans_of(tmp_path, tmp_path / 'in')

    assert good.defect is None
    assert archive.defect and 'permission denied' in archive.defect


def test_a_broken_folder_or_archive_is_one_scan_that_fails(
    tmp_path: Path,
) -> None:
    folder = tmp_path / 'in' / 'DOE_JOHN'
    series(folder, '1.1', '9', 1.0)
    first = min(folder.iterdir())
    first.write_bytes(first.read_bytes()[:200])
    (tmp_path / 'in' / 'x.zip').write_bytes(b'no zip')
    series(tmp_path / 'in' / 'good', '1.2', '8', 1.0)

    good, broken, archive = scans_of(tmp_path, tmp_path / 'in')

    assert good.defect is None and archive.uid == f'zip-{digest("x.zip")}'
    assert archive.defect and 'not a zip archive' in archive.defect
    assert broken.defect and broken.uid.startswith('folder-')


def test_what_is_no_ct_is_left_out(tmp_path: Path) -> None:
    series(tmp_path / 'in' / 'ct', '1.1', '9', 1.0)
    series(tmp_path / 'in' / 'mr', '1.2', '9', 1.0, Modality='MR')

    scans, left_out = find_scans([tmp_path / 'in'], tmp_path / 'scratch')

    assert names(scans) == ['1.1']
    assert left_out == ['a folder: no CT series (26 files: 26 MR objects)']


def empty(folder: Path) -> list[Path]:
    (folder / 'none').mkdir()
    return [folder / 'none']


@pytest.mark.parametrize(
    ('inputs', 'reason'),
    [
        (empty, 'none: no scan there'),
        (lambda folder: ['https://host/studies'], 'names no examination'),
        (lambda folder: [folder / 'x.mha'], 'x.mha: not there'),
    ],
)
def test_inputs_that_cannot_be_meant(
    tmp_path: Path, inputs: Callable[[Path], list], reason: str
) -> None:
    with pytest.raises((LungdetError, OSError), match=reason):
        scans_of(tmp_path, *inputs(tmp_path))


def test_nothing_is_unpacked_where_the_scratch_folder_is_not_used(
    tmp_path: Path,
) -> None:
    write_series_folder = tmp_path / 'd'
    write_series_folder.mkdir()
    write_series(write_series_folder, HU)

    scans_of(tmp_path, write_series_folder)

    assert not (tmp_path / 'scratch').exists()
