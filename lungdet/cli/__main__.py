"""``python -m lungdet.cli`` is the ``lungdet`` command."""

import sys

from lungdet.cli.program import main

if __name__ == '__main__':
    sys.exit(main())
