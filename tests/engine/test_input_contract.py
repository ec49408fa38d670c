"""What weights and their next use must share."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lungdet.engine.input_contract import InputContract
from lungdet.errors import CheckpointError
from lungdet.registry import MODELS

GATE = {'cfg': {'type': 'SE3D'}, 'position': 'after_conv2', 'stages': None}
CONTRACT = InputContract((-1200.0, 600.0), (-1.0, 1.0), 1.0)


def of(plugins: list[dict] | None, **preprocessor: object) -> InputContract:
    """Of a model with these plugins."""
    values = {'window': (0, 1), 'out_range': (0, 1), **preprocessor}
    model = SimpleNamespace(data_preprocessor=SimpleNamespace(**values))
    return InputContract.of_model(model, plugins, 1.0)


def test_it_is_what_the_model_was_built_with() -> None:
    model = SimpleNamespace(
        data_preprocessor=SimpleNamespace(
            window=(-900, 300), out_range=(-0.5, 2)
        )
    )
    spelt = {**GATE, 'stages': (True,) * 6}

    contract = InputContract.of_model(model, [spelt], 0.8)

    assert contract.to_dict() == {
        'window': [-900, 300],
        'out_range': [-0.5, 2],
        'spacing_mm': 0.8,
        'plugins': [GATE],
    }
    assert InputContract.from_dict(contract.to_dict()) == contract


@pytest.mark.parametrize('spacing_mm', [0.0, 1e9, float('nan')])
def test_spacing_that_no_scan_has_is_refused(spacing_mm: float) -> None:
    """A scan of one voxel has no detections."""
    content = {**CONTRACT.to_dict(), 'spacing_mm': spacing_mm}

    with pytest.raises(CheckpointError, match='a value is out of range'):
        InputContract.from_dict(content)


@pytest.mark.parametrize(
    ('key', 'stored', 'here', 'message'),
    [
        ('window', (-1200, 600), (-1000, 400), r'\[-1200, 600\].*\[-1000'),
        ('spacing_mm', 0.8, 1.0, r'spacing_mm 0\.8, but here it is 1\.0'),
        ('out_range', (0.0, 1.0), (-1.0, 1.0), r'\[0\.0, 1\.0\].*\[-1\.0'),
        ('plugins', (), (GATE,), r'plugins \[\], but here it is .*SE3D'),
        ('plugins', (GATE,), (), r'plugins .*SE3D.*, but here it is \[\]'),
    ],
)
def test_contracts_that_differ_are_refused_with_both_values(
    key: str, stored: object, here: object, message: str
) -> None:
    CONTRACT.check(CONTRACT, 'file')

    with pytest.raises(CheckpointError, match=f'^file: .*{message}'):
        replace(CONTRACT, **{key: here}).check(
            replace(CONTRACT, **{key: stored}), 'file'
        )


@pytest.mark.parametrize('name', ['QuartetAttention', 'CBAM3D'])
def test_form_of_a_convolution_is_no_other_plugin(name: str) -> None:
    def contract(**cfg: object) -> InputContract:
        return of([{**GATE, 'cfg': {'type': name, **cfg}}])

    contract(conv_method='fold').check(contract(), 'file')
    with pytest.raises(CheckpointError, match='identity_start'):
        contract(identity_start=True).check(contract(), 'file')


def test_plugins_that_start_as_the_identity_may_be_added() -> None:
    identity = {**GATE, 'cfg': {'type': 'SE3D', 'identity_start': True}}

    of([identity]).check(of([]), 'file', may_add=True)
    of([GATE, identity]).check(of([GATE]), 'file', may_add=True)
    with pytest.raises(CheckpointError, match=r'plugins \[\]'):
        of([GATE]).check(of([]), 'file', may_add=True)
    # none may be left out
    with pytest.raises(CheckpointError, match=r'here it is \[\]'):
        of([]).check(of([identity]), 'file', may_add=True)


def test_a_plugin_may_be_given_as_its_class() -> None:
    kind = MODELS.get('SE3D')
    as_class = {**GATE, 'cfg': {'type': kind, 'identity_start': True}}
    as_name = {**GATE, 'cfg': {'type': 'SE3D', 'identity_start': True}}

    assert of([as_class]) == of([as_name])
    of([as_class]).check(of([]), 'file', may_add=True)
