from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.cli import build_parser, main
from lungdet.io.ray_cluster import RayOptions
from lungdet.prepare import Summary


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['luna16', '{empty}', '{out}'], 'no annotations.csv there'),
        (['luna16', '{empty}/none', '{out}'], 'no annotations.csv there'),
        (['folder', '{empty}/none', '{out}'], 'no such folder'),
        (['folder', '{scans}', '{file}'], 'cannot be written to'),
    ],
)
def test_unusable_folders_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    words: list[str],
    reason: str,
) -> None:
    paths = {name: tmp_path / name for name in ('empty', 'scans', 'file')}
    paths['empty'].mkdir()
    paths['scans'].mkdir()
    (paths['scans'] / 'a.mhd').touch()
    paths['file'].touch()
    filled = [word.format(**paths, out=tmp_path / 'out') for word in words]

    assert main(['prepare', *filled]) == 2

    error = capsys.readouterr().err.strip()
    assert error.startswith('lungdet: ') and '\n' not in error
    assert reason in error


@pytest.mark.parametrize(
    ('where', 'jobs'),
    [
        ([], 1),
        (['--jobs', '2'], 2),
        (['--ray'], RayOptions()),
        (['--jobs', '2', '--ray', 'a:1'], RayOptions('a:1', workers=2)),
    ],
)
@pytest.mark.parametrize('source', ['luna16', 'folder'])
def test_options_reach_the_function(
    source: str,
    where: list[str],
    jobs: int | RayOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ['--series', '1.2', '1.3', '--hu-offset', '-1024', *where]
    wanted = {'series': ['1.2', '1.3'], 'hu_offset': -1024, 'jobs': jobs}
    if source == 'luna16':
        words += ['--min-readers', '2', '--consensus', 'union']
        wanted |= {'min_readers': 2, 'consensus': 'union'}
    received: dict = {}

    def prepare(*_: object, **options: object) -> Summary:
        received.update(options)
        return Summary([])

    monkeypatch.setattr(f'lungdet.prepare.prepare_{source}', prepare)

    assert main(['prepare', source, 'x', 'y', *words]) == 0

    assert wanted.items() <= received.items()


@pytest.mark.parametrize(
    'words',
    [['prepare', 'luna16'], ['prepare', 'folder'], ['phantom'], ['verify']],
)
def test_every_argument_of_preparation_is_explained(words: list[str]) -> None:
    parser = build_parser()
    for word in words:
        (sub,) = (a for a in parser._actions if isinstance(a.choices, dict))
        parser = sub.choices[word]

    assert [a.dest for a in parser._actions if not a.help] == []
