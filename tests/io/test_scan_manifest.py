from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.errors import AnnotationError
from lungdet.io.scan_manifest import ManifestEntry, read_scan_manifest


def test_paths_are_below_the_folder_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / 'scans.csv'
    path.write_text(
        'lung_mask,path,note,seriesuid\r\n'
        'm.mhd,a/b.mha,"x, y",1.2\r\n'
        '\r\n'
        ',/c d.nii,,\r\n'
        ',https://host/studies/1.2,,\r\n'
    )

    assert read_scan_manifest(path) == [
        ManifestEntry(str(tmp_path / 'a/b.mha'), '1.2', tmp_path / 'm.mhd', 2),
        ManifestEntry(str(Path('/c d.nii')), line=4),
        ManifestEntry('https://host/studies/1.2', line=5),
    ]


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'the column path'),
        ('file\na.mha\n', 'the column path'),
        ('path,path\na,b\n', 'each once'),
        ('path\n', 'lists no scan'),
        ('path,seriesuid\na.mha\n', ':2: 1 cells, the header has 2'),
        ('path,seriesuid\n,1.2\n', ':2: path is empty'),
    ],
)
def test_a_table_that_is_no_list_says_why(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / 'scans.csv'
    path.write_text(text)

    with pytest.raises(AnnotationError, match=reason):
        read_scan_manifest(path)
