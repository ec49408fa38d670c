"""``lungdet infer``: nodules of scans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lungdet.cli.infer_options import (
    add_model_options,
    add_run_options,
    add_scan_options,
    add_selection_options,
    check_options,
    detector_of,
    infer_options_of,
)
from lungdet.cli.infer_output import InferOutput, series_table
from lungdet.cli.options import ray_options
from lungdet.errors import counted, printable
from lungdet.threads import set_thread_number

if TYPE_CHECKING:
    from lungdet.apis.detector_options import DetectorOptions
    from lungdet.apis.infer_scans import ScanRun
    from lungdet.apis.scan_steps import InferOptions
    from lungdet.io.ray_cluster import RayOptions


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Options of ``lungdet infer``."""
    parser = commands.add_parser('infer', help=infer.__doc__)
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='image file, DICOM folder, zip of either, folder with any of '
        'these, address of an examination on a DICOMweb server, or a csv with '
        'the column path',
    )
    parser.add_argument(
        '--out', type=Path, help='folder for the results, one for each scan'
    )
    add_model_options(parser)
    add_selection_options(parser)
    add_scan_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=infer)


def infer(args: argparse.Namespace) -> int:
    """Find nodules in scans."""
    check_options(args)
    ray = ray_options(args, threads=args.threads)
    if args.threads is not None and ray is None:
        set_thread_number(args.threads)
    if args.list_series:
        return list_series(args)
    from lungdet.exporters import make_result_folder

    detector, options = detector_of(args), infer_options_of(args)
    make_result_folder(args.out)
    check_report(args.report)
    try:
        run, output = start_run(args, detector, options, ray)
    except BaseException as error:
        if args.report is not None:
            from lungdet.apis.inference_record import ended_by

            ended_by(error).write(args.report)
        raise
    return work(run, output, args.report)


def start_run(
    args: argparse.Namespace,
    detector: DetectorOptions,
    options: InferOptions,
    ray: RayOptions | None,
) -> tuple[ScanRun, InferOutput]:
    """The run on the scans among the inputs, and what prints its outcomes.

    Raises:
        SeriesError: No scan.
        Errors as ``find_scans``, ``DetectorOptions.build`` and
        ``RayScanRun``.
    """
    from lungdet.apis.infer_on_ray import RayScanRun
    from lungdet.apis.infer_scans import ScanRun
    from lungdet.apis.scan_inputs import find_scans
    from lungdet.apis.scan_list import ScanList

    every, left_out = find_scans(
        args.inputs,
        args.out,
        series=args.series,
        lung_mask=args.lung_mask,
        keep_phi=args.keep_phi,
    )
    scans = every[args.part_id or 0 :: args.num_parts]
    output = InferOutput(
        len(scans), quiet=args.quiet, verbose=args.verbose, debug=args.debug
    )
    run = (
        ScanRun(detector.build(), scans, args.out, options)
        if ray is None
        else RayScanRun(detector, scans, args.out, options, ray=ray)
    )
    run.on_scan, run.on_windows = output.scan, output.windows
    listed = ScanList(tuple(scan.uid for scan in every), args.num_parts)
    listed.write(args.out)
    for text in left_out:
        output.caveat(f'left out: {text}')
    if not scans:
        output.caveat(
            f'--part-id {args.part_id} of {args.num_parts} parts has none of '
            f'the {counted(len(every), "scan")}'
        )
    return run, output


def work(run: ScanRun, output: InferOutput, report: Path | None) -> int:
    """Run, and write the report even if interrupted."""
    try:
        with output:
            run.run()
    finally:
        if report is not None:
            run.report().write(report)
    output.end(run.report(), run.out)
    return run.report().exit_code


def check_report(report: Path | None) -> None:
    """Check before any work that the report can be written.

    Raises:
        OSError: It cannot.
    """
    from lungdet.io.atomic import check_replaceable, check_writable

    if report is not None:
        check_replaceable(report)
        check_writable(report.parent, 'the report')


def list_series(args: argparse.Namespace) -> int:
    """Print the scans among the inputs."""
    from tempfile import TemporaryDirectory

    from lungdet.apis.scan_inputs import list_scans

    with TemporaryDirectory(prefix='lungdet-') as scratch:
        scans, left_out = list_scans(
            args.inputs, Path(scratch), keep_phi=args.keep_phi
        )
    print(series_table(scans))
    for text in left_out:
        print(printable(f'left out: {text}'), file=sys.stderr)
    return 0
