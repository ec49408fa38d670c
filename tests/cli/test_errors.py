from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

import pytest

from lungdet.cli import clean_errors
from lungdet.errors import SeriesError


def test_errors_of_the_system_name_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        (tmp_path / 'file' / 'out').mkdir()

    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip() == (
        f'lungdet: {tmp_path}/file/out: not a directory; check the path and '
        'its permissions.'
    )


@pytest.mark.parametrize('library_hides_it', [False, True])
def test_interruption_is_one_line_with_the_shells_exit_code(
    library_hides_it: bool, capsys: pytest.CaptureFixture
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if library_hides_it:
                raise ValueError('cannot format') from None
            raise

    assert stopped.value.code == 130
    assert capsys.readouterr().err == (
        'lungdet: interrupted; run the same command again to continue.\n'
    )
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_debugging_shows_the_error_itself(tmp_path: Path) -> None:
    with pytest.raises(OSError), clean_errors('lungdet', debug=True):
        (tmp_path / 'missing' / 'out').mkdir()


def test_what_a_header_says_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture,
) -> None:
    text = 'a\x1b[2J\x07 \u202eb\x9b1mc\nd \udcff Grüße'

    with pytest.raises(SystemExit), clean_errors('lungdet'):
        raise SeriesError(text)

    assert capsys.readouterr().err == (
        'lungdet: a\\x1b[2J\\x07 \\u202eb\\x9b1mc d \\udcff Grüße\n'
    )


def test_ctrl_c_inside_of_logging_is_raised_behind_it() -> None:
    """Its locks are released around forks, where Python ignores errors."""
    inside = compile(
        'signal.raise_signal(signal.SIGINT)', logging.__file__, 'exec'
    )
    left = False
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    with pytest.raises(SystemExit) as stopped, clean_errors('lungdet'):
        exec(inside, {'signal': signal})
        left = True
        time.sleep(5)

    signal.signal(signal.SIGINT, before)
    assert left and stopped.value.code == 130
