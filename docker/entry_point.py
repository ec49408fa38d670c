"""One run on grand-challenge.org: the scan of /input to points in /output.

The platform puts one image at ``/input/images/<slug>/<uuid>.mha``, gives no
network, and takes ``/output/nodule-locations.json``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lungdet.cli import clean_errors
from lungdet.errors import SeriesError, printable
from lungdet.exporters.grand_challenge import POINTS
from lungdet.threads import set_threads

IMAGES = 'images/*/*.mha'


def main() -> int:
    """Detect, and write the points."""
    set_threads()  # before torch is imported
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--input', type=Path, default=Path('/input'))
    parser.add_argument('--output', type=Path, default=Path('/output'))
    args = parser.parse_args()
    with clean_errors('lungdet'):
        from lungdet.apis import NoduleInferencer

        scan = only_image(args.input)
        result = NoduleInferencer()(
            scan, out_dir=args.output, formats=('grand_challenge',)
        )
    for text in result.caveats:
        print(printable(f'caveat: {text}'))
    print(f'{len(result.detections)} points in {args.output / POINTS}')
    return 0


def only_image(folder: Path) -> Path:
    """The scan of a run.

    Raises:
        SeriesError: No image, or several.
    """
    images = sorted(folder.glob(IMAGES))
    if len(images) == 1:
        return images[0]
    raise SeriesError(
        f'{folder}: {len(images)} files at {IMAGES}; the platform gives one.'
    )


if __name__ == '__main__':
    sys.exit(main())
