"""Imports run one way; docs/architecture.md explains the table."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / 'lungdet'
BASE = {'errors', 'geometry', 'hounsfield', 'structures'}
ALLOWED = {
    'errors': set(),
    'geometry': {'errors'},
    'hounsfield': set(),
    'structures': {'errors', 'geometry'},
    'registry': {'errors'},
    'data_sample': set(),
    'seeds': set(),
    'threads': set(),
    'io': BASE | {'threads'},
    'dicomweb': {'errors', 'io'},
    'phantom': BASE | {'io'},
    'prepare': BASE | {'io'},
    'insertion': BASE | {'seeds', 'io', 'phantom'},
    'evaluation': BASE,
    'report': BASE | {'io', 'evaluation'},
    'exporters': BASE | {'io', 'report'},
    'ops': {'errors'},
    'models': {'errors', 'hounsfield', 'registry', 'data_sample', 'ops'},
    'datasets': BASE
    | {'registry', 'data_sample', 'seeds', 'io', 'ops'}
    | {'insertion'},
    'engine': BASE
    | {
        'registry',
        'data_sample',
        'seeds',
        'io',
        'evaluation',
        'report',
        'ops',
    },
    'deploy': BASE | {'io', 'models', 'engine', 'registry'},
    'apis': None,
    'serve': BASE | {'io', 'exporters', 'report', 'apis'},
    'cli': None,
}
TORCH = {'torch', 'mmengine', 'mmcv'}
FORBIDDEN = {
    'errors': TORCH | {'numpy', 'SimpleITK', 'scipy'},
    'geometry': TORCH | {'SimpleITK', 'blosc2', 'nibabel', 'pydicom'},
    'hounsfield': TORCH | {'SimpleITK', 'scipy'},
    'structures': TORCH | {'SimpleITK'},
    'io': TORCH | {'matplotlib'},
    'prepare': TORCH | {'matplotlib'},
    'dicomweb': TORCH | {'matplotlib', 'SimpleITK'},
    'phantom': TORCH | {'matplotlib'},
    'insertion': TORCH | {'matplotlib', 'SimpleITK'},
    'evaluation': TORCH
    | {'SimpleITK', 'blosc2', 'nibabel', 'pydicom', 'matplotlib'},
    'report': TORCH | {'SimpleITK', 'blosc2', 'nibabel', 'pydicom'},
    'exporters': TORCH | {'blosc2', 'nibabel'},
    'threads': TORCH | {'numpy', 'SimpleITK', 'scipy'},
    'seeds': TORCH | {'SimpleITK', 'scipy'},
    'ops': {'mmengine', 'mmcv', 'SimpleITK'},
    'models': {
        'SimpleITK',
        'blosc2',
        'nibabel',
        'pydicom',
        'scipy',
        'matplotlib',
    },
    'deploy': {'argparse', 'SimpleITK', 'matplotlib', 'scipy'},
    'apis': {'argparse'},
    'serve': TORCH | {'argparse', 'SimpleITK', 'matplotlib'},
}


def imported_names(path: Path) -> list[str]:
    """Absolute module names a file imports, function bodies too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names.append(node.module or '')
            if node.module == 'lungdet':
                names += [f'lungdet.{alias.name}' for alias in node.names]
    return names


def package_files() -> list[tuple[str, Path]]:
    files = []
    for path in sorted(ROOT.rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        if parts != ('__init__',):
            files.append((parts[0], path))
    return files


@pytest.mark.parametrize(
    ('package', 'path'),
    package_files(),
    ids=[str(path.relative_to(ROOT)) for _, path in package_files()],
)
def test_imports_run_downwards(package: str, path: Path) -> None:
    assert package in ALLOWED, f'{path}: a new package needs a row'
    allowed = ALLOWED[package]

    for name in imported_names(path):
        head, _, rest = name.partition('.')
        if head == 'lungdet' and rest and allowed is not None:
            target = rest.split('.')[0]
            assert target == package or target in allowed, (
                f'{path}: imports {name}; {package} may import '
                f'{sorted(allowed)}'
            )
        assert head not in FORBIDDEN.get(package, set()), (
            f'{path}: imports {name}, which {package} must not know'
        )


def test_only_the_command_line_starts_the_service() -> None:
    for package, path in package_files():
        if package not in ('serve', 'cli'):
            names = imported_names(path)
            assert not [n for n in names if n.startswith('lungdet.serve')]


@pytest.mark.parametrize(
    'module',
    [
        'lungdet',
        'lungdet.evaluation',
        'lungdet.io.image',
        'lungdet.io.dicom',
        'lungdet.io.case_store',
        'lungdet.dicomweb',
        'lungdet.prepare',
        'lungdet.phantom',
        'lungdet.insertion',
        'lungdet.apis.submission_files',
        'lungdet.apis.score_submissions',
        'lungdet.apis.reports',
        'lungdet.report.evaluation_files',
        'lungdet.exporters',
        'lungdet.cli',
        'lungdet.serve.job_run',
        'lungdet.serve.storage',
    ],
)
def test_light_modules_leave_torch_unloaded(module: str) -> None:
    code = (
        f'import sys, {module}; '
        "heavy = {'torch', 'mmengine', 'mmcv', 'cv2'} & set(sys.modules); "
        'assert not heavy, heavy'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
