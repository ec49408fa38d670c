from __future__ import annotations

import pytest

from lungdet.cli import main
from lungdet.evaluation import READ_OUTS


def test_every_read_out_is_offered(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['froc', '--help'])

    assert '{' + ','.join(READ_OUTS) + '}' in capsys.readouterr().out
