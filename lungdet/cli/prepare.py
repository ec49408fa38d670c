"""``lungdet prepare``: scans to training cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungdet.cli.options import add_ray_option, positive_int, ray_options

if TYPE_CHECKING:
    from lungdet.prepare import Summary


def add_parser(commands: argparse._SubParsersAction) -> None:
    """A sub-command for each kind of scans."""
    prepare = commands.add_parser('prepare', help='scans to training cases')
    sources = prepare.add_subparsers(dest='source', required=True)
    add_luna16(sources)
    add_folder(sources)
    add_nodules(sources)


def add_luna16(sources: argparse._SubParsersAction) -> None:
    """Options of ``lungdet prepare luna16``."""
    parser = sources.add_parser('luna16', help=luna16.__doc__)
    add_common_options(parser)
    parser.add_argument(
        '--lidc-xml', type=Path, help='folder with the LIDC reader XML'
    )
    parser.add_argument(
        '--min-readers',
        type=positive_int,
        default=3,
        help='readers that must have outlined a nodule for its mask',
    )
    parser.add_argument(
        '--consensus',
        choices=('half', 'union'),
        default='half',
        help='mask: voxels that half of its readers drew, or any of them',
    )
    parser.set_defaults(run=luna16)


def add_folder(sources: argparse._SubParsersAction) -> None:
    """Options of ``lungdet prepare folder``."""
    parser = sources.add_parser('folder', help=folder.__doc__)
    add_common_options(parser)
    parser.add_argument(
        '--annotations',
        type=Path,
        help='a csv with centres and diameters (coordX, coordY, coordZ, '
        'diameter_mm) or with corners (x1, y1, z1, x2, y2, z2) in world mm, '
        'or a folder of masks',
    )
    parser.set_defaults(run=folder)


def add_nodules(sources: argparse._SubParsersAction) -> None:
    """Options of ``lungdet prepare nodules``."""
    parser = sources.add_parser('nodules', help=nodules.__doc__)
    parser.add_argument(
        'nodules',
        type=Path,
        help='an .npz of LIDC crops, or a folder of cases with masks',
    )
    parser.add_argument('out', type=Path, help='file of the library, .npz')
    parser.set_defaults(run=nodules)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Options of both kinds of scans."""
    parser.add_argument('root', type=Path, help='folder with the scans')
    parser.add_argument('out', type=Path, help='folder for the cases')
    parser.add_argument(
        '--jobs',
        type=positive_int,
        help='scans prepared at a time, in as many processes (default 1; on a '
        'cluster, one per processor)',
    )
    add_ray_option(parser)
    parser.add_argument(
        '--spacing', type=float, default=1.0, help='mm, isotropic'
    )
    parser.add_argument(
        '--series',
        nargs='+',
        default=(),
        metavar='UID',
        help='only these series of DICOM folders',
    )
    parser.add_argument(
        '--hu-offset',
        type=int,
        metavar='HU',
        help='for scans stored without their offset, usually -1024; scans '
        'that are in HU are left alone',
    )


def luna16(args: argparse.Namespace) -> int:
    """Prepare a LUNA16 download, or any part of one."""
    from lungdet.prepare import prepare_luna16

    return _print_summary(
        prepare_luna16(
            args.root,
            args.out,
            lidc_xml=args.lidc_xml,
            min_readers=args.min_readers,
            consensus=args.consensus,
            **_shared_options(args),
        )
    )


def folder(args: argparse.Namespace) -> int:
    """Prepare a folder of your own scans."""
    from lungdet.prepare import prepare_folder

    return _print_summary(
        prepare_folder(
            args.root,
            args.out,
            annotations=args.annotations,
            **_shared_options(args),
        )
    )


def _shared_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options that both sources of scans take."""
    return {
        'series': args.series,
        'hu_offset': args.hu_offset,
        'jobs': ray_options(args, workers=args.jobs) or args.jobs or 1,
        'spacing_mm': args.spacing,
    }


def _print_summary(summary: Summary) -> int:
    """Print the table of a run, and return its exit code."""
    print(summary.table())
    return summary.exit_code


def nodules(args: argparse.Namespace) -> int:
    """Cut nodules out, to be inserted into scans."""
    from lungdet.prepare import prepare_nodules

    for line in prepare_nodules(args.nodules, args.out):
        print(line)
    return 0
