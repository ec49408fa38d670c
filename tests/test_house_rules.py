"""The shape of the code: sizes, circles, words, what tests may touch."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, TESTS = ROOT / 'lungdet', ROOT / 'tests'
MAX_FILE, MAX_FUNCTION = 400, 60
SOURCES = [
    path
    for folder in ('lungdet', 'tests', 'configs', 'tools', 'benchmarks')
    for path in sorted((ROOT / folder).rglob('*.py'))
]
TEXTS = [
    *SOURCES,
    *sorted((ROOT / 'docs').glob('*.md')),
    ROOT / 'README.md',
    ROOT / 'CHANGELOG.md',
]
# words that docs/contributing.md retires; in pieces, so that this file passes
RETIRED_TEXT = re.compile(
    'wind' 'pipe|way' r'\s+back|counts' r'\s+not\b|second' r'\s+stage'
)
# packages whose every module has a test file of its name
MIRRORED = (
    *('lungdet/models', 'lungdet/ops', 'lungdet/datasets', 'lungdet/engine'),
    *('lungdet/apis', 'lungdet/report', 'lungdet/cli', 'tools'),
    *('lungdet/exporters', 'lungdet/serve', 'lungdet/deploy'),
)
NOT_OF_THE_PACKAGE = ('docs', 'oracles', 'benchmarks', 'tools', 'docker')
UNDERSCORE = re.compile(r'_[a-z]\w*')
REACHING = {'getattr', 'setattr', 'hasattr', 'delattr', 'patch', 'object'}
# underscore names of other libraries that tests need
FOREIGN = {
    '_actions',  # argparse: every option of a parser
    '_instance_dict',  # mmengine's singletons, emptied between tests
    '_version',  # torch: counts in-place changes
}


def retired_names() -> set[str]:
    """The names that docs/contributing.md retires."""
    text = (ROOT / 'docs' / 'contributing.md').read_text(encoding='utf-8')
    section = text.split('## Retired words')[1]
    return set(re.findall(r'`([A-Za-z_]+)`', section))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding='utf-8'))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(path: Path, modules: set[str]) -> set[str]:
    """Modules of the package that a file imports, function bodies too."""
    targets = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f'{node.module}.{alias.name}'
                targets.add(inner if inner in modules else node.module)
    return targets & modules


def test_no_module_imports_itself_through_others() -> None:
    files = {module_of(path): path for path in PACKAGE.rglob('*.py')}
    graph = {m: imports(path, set(files)) for m, path in files.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f'circle: {" -> ".join(trail)} -> {module}'
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_long_files_say_why() -> None:
    for path in (*PACKAGE.rglob('*.py'), *TESTS.rglob('*.py')):
        lines = path.read_text(encoding='utf-8').splitlines()
        if len(lines) > MAX_FILE:
            assert lines[0].startswith('# '), (
                f'{name(path)}: {len(lines)} lines; split it, or say in a '
                'comment on its first line why it is one thing'
            )


def test_functions_are_one_thought() -> None:
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MAX_FUNCTION, (
                    f'{name(path)}: {node.name} has {lines} lines, more '
                    f'than {MAX_FUNCTION}'
                )


def names_in(path: Path) -> Iterator[tuple[str, int]]:
    """Every name in the code of a file, and its line."""
    text = path.read_text(encoding='utf-8')
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string, token.start[0]


def test_retired_names_stay_retired() -> None:
    retired = retired_names()
    assert len(retired) > 10
    uses = [
        f'{name(path)}:{line}: {word}'
        for path in SOURCES
        for word, line in names_in(path)
        if word in retired
    ]
    assert not uses, f'{len(uses)} uses of retired names: {uses[:20]}'


def test_retired_phrases_stay_out_of_every_text() -> None:
    uses = [
        f'{name(path)}: {match.group()}'
        for path in TEXTS
        if path.name != 'contributing.md'
        for match in RETIRED_TEXT.finditer(path.read_text(encoding='utf-8'))
    ]
    assert not uses, uses


def underscore_names(path: Path) -> Iterator[str]:
    """Names with a leading underscore that a test reaches for in others."""
    for node in ast.walk(parsed(path)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Call):
            called = node.func
            word = getattr(called, 'attr', getattr(called, 'id', ''))
            if word in REACHING:
                names = [
                    argument.value.rpartition('.')[2]
                    for argument in node.args
                    if isinstance(argument, ast.Constant)
                    and isinstance(argument.value, str)
                ]
        yield from (n for n in names if UNDERSCORE.fullmatch(n))


@pytest.mark.parametrize(
    'path', sorted(TESTS.rglob('*.py')), ids=lambda path: name(path)
)
def test_tests_go_through_public_names(path: Path) -> None:
    private = set(underscore_names(path)) - FOREIGN
    assert not private, f'{name(path)}: {sorted(private)}'


@pytest.mark.parametrize(
    'path',
    sorted(p for p in TESTS.rglob('test_*.py') if p.parent != TESTS),
    ids=lambda path: name(path),
)
def test_tests_mirror_the_package(path: Path) -> None:
    folder = path.parent.relative_to(TESTS)
    if folder.parts[0] in NOT_OF_THE_PACKAGE:
        return
    stem = path.stem.removeprefix('test_')
    there = {
        p.stem for p in (PACKAGE / folder).glob('*') if p.stem != '__init__'
    }
    assert any(stem == m or stem.startswith(f'{m}_') for m in there), (
        f'{name(path)}: no lungdet/{folder}/{stem}.py; move the test to the '
        f'module that it tests, one of {sorted(there)}'
    )


@pytest.mark.parametrize(
    'path',
    [
        path
        for package in MIRRORED
        for path in sorted((ROOT / package).rglob('*.py'))
        if not path.stem.startswith('__')
    ],
    ids=lambda path: name(path),
)
def test_every_module_has_a_test_of_its_name(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    folder = TESTS.joinpath(*parts[parts[0] == 'lungdet' : -1])
    assert (folder / f'test_{path.stem}.py').is_file()
