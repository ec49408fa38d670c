"""Prepare a LUNA16 download; the same as ``lungdet prepare luna16``."""

from __future__ import annotations

import sys

from lungdet.cli import main

if __name__ == '__main__':
    sys.exit(main(['prepare', 'luna16', *sys.argv[1:]]))
