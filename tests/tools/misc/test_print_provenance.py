from __future__ import annotations

import json

import pytest

from lungdet.engine import provenance
from tests.tools.conftest import RunTool


def test_what_weights_were_trained_on_is_printed_as_json(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {'train_series': ['1.2', '1.3'], 'pretrained': None}
    monkeypatch.setattr(
        provenance,
        'describe_weights',
        lambda path: {'of': path} | trained,
    )

    printed = run_tool('misc/print_provenance.py', 'epoch_3.pth')

    assert json.loads(printed) == {'of': 'epoch_3.pth'} | trained
