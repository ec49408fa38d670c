from __future__ import annotations

import pytest

from lungdet import apis
from tests.tools.conftest import RunTool


@pytest.mark.parametrize(
    ('words', 'wanted'),
    [
        ((), {'resume': None, 'new_schedule': False, 'amp': False}),
        (('--resume',), {'resume': 'auto', 'new_schedule': False}),
        (('--resume', 'a.pth'), {'resume': 'a.pth'}),
        (
            ('--resume-with-new-schedule',),
            {'resume': 'auto', 'new_schedule': True},
        ),
        (
            ('--resume', 'a.pth', '--resume-with-new-schedule'),
            {'resume': 'a.pth', 'new_schedule': True},
        ),
        (
            ('--amp', '--work-dir', 'x', '--cfg-options', 'a.b=(1,2)', 'c=d'),
            {
                'amp': True,
                'work_dir': 'x',
                'cfg_options': {'a.b': (1, 2), 'c': 'd'},
            },
        ),
    ],
)
def test_options_reach_the_function(
    words: tuple[str, ...],
    wanted: dict,
    run_tool: RunTool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: dict = {}
    monkeypatch.setattr(
        apis,
        'train',
        lambda config, **options: received.update(options, config=config),
    )

    run_tool('train.py', 'config.py', *words)

    assert {**wanted, 'config': 'config.py'}.items() <= received.items()
