"""Every file that the page names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INVENTED = {'lungdet/cli/my_command.py'}


def test_files_of_the_page_exist() -> None:
    text = (ROOT / 'docs' / 'extending.md').read_text()

    paths = set(re.findall(r'`((?:lungdet|tests)/[\w/.]+)`', text)) - INVENTED

    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
