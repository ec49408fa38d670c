from __future__ import annotations

from types import SimpleNamespace

import pytest

from lungdet import apis
from tests.tools.conftest import RunTool


def test_options_of_detectors_and_of_pretraining_are_kept_apart(
    run_tool: RunTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: dict = {}

    def ablate(configs: list, out: str, **options: object) -> SimpleNamespace:
        received.update(options, configs=configs, out=out)
        return SimpleNamespace(text=lambda: 'the table')

    monkeypatch.setattr(apis, 'ablate', ablate)

    printed = run_tool(
        *('ablate.py', 'a.py', 'b.py', '--out', 'x', '--seeds', 3),
        *('--cfg-options', 'data_root=cases'),
        *('--pretrain-options', 'train_cfg.max_epochs=2'),
    )

    assert printed == 'the table\ntable and figure: x\n'
    assert received == {
        'configs': ['a.py', 'b.py'],
        'out': 'x',
        'folds': 'config',
        'seeds': 3,
        'amp': False,
        'cfg_options': {'data_root': 'cases'},
        'pretrain_options': {'train_cfg.max_epochs': 2},
    }
