"""Options of ``lungdet infer``, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lungdet.cli.options import (
    add_detector_options,
    add_ray_option,
    comma_list,
    non_negative_int,
    positive_int,
)
from lungdet.errors import ConfigError

if TYPE_CHECKING:
    from lungdet.apis.detector_options import DetectorOptions
    from lungdet.apis.scan_steps import InferOptions


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which network, and how it computes."""
    group = parser.add_argument_group('model')
    add_detector_options(group)
    group.add_argument(
        '--device', default='auto', help='auto, cpu or cuda[:N]'
    )
    group.add_argument(
        '--precision',
        default='auto',
        choices=('auto', 'fp32', 'bf16'),
        help='auto times both on a CPU and takes the faster one',
    )
    group.add_argument(
        '--backend',
        default='torch',
        choices=('torch', 'onnxruntime', 'openvino'),
        help='what computes the network; all but torch on the CPU',
    )
    group.add_argument(
        '--threads', type=positive_int, metavar='N', help='of a CPU'
    )


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Which detections are kept."""
    group = parser.add_argument_group('detections')
    least = group.add_mutually_exclusive_group()
    least.add_argument(
        '--score-thr',
        type=float,
        help='drop detections below this score; by default the threshold of '
        'the model, or 0.2',
    )
    least.add_argument(
        '--fp-rate',
        type=float,
        metavar='RATE',
        help='drop those below the score at which the model made so many '
        'false positives per scan',
    )
    group.add_argument(
        '--lung-margin',
        type=float,
        metavar='MM',
        help='drop detections farther outside the lungs (8)',
    )
    group.add_argument(
        '--merge',
        type=float,
        metavar='MM',
        help='drop detections this near to a better one, or within its radius '
        '(4)',
    )
    group.add_argument(
        '--keep-all',
        action='store_true',
        help='drop nothing that the network returns',
    )


def add_scan_options(parser: argparse.ArgumentParser) -> None:
    """Which scans, and what is known about them."""
    group = parser.add_argument_group('scans')
    group.add_argument(
        '--series',
        nargs='+',
        default=(),
        metavar='UID',
        help='only these; by default the thinnest series of each examination',
    )
    group.add_argument(
        '--list-series',
        action='store_true',
        help='print the scans among the inputs, and do no more',
    )
    group.add_argument(
        '--lung-mask',
        type=Path,
        metavar='PATH',
        help='mask of the only scan, or a folder with one named like each',
    )
    group.add_argument(
        '--hu-offset', type=int, help='HU of a stored 0, if the file lacks it'
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What the run writes, prints and repeats."""
    group = parser.add_argument_group('run')
    group.add_argument(
        '--formats',
        type=comma_list,
        default=None,
        metavar='A,B',
        help='result formats; json,luna16,nifti,picture,html by default',
    )
    group.add_argument(
        '--store',
        action='store_true',
        help='send a DICOM SEG and SR to the server that the scan came from',
    )
    group.add_argument(
        '--overwrite',
        action='store_true',
        help='work on scans again that are done',
    )
    group.add_argument(
        '--num-parts',
        type=positive_int,
        default=1,
        metavar='N',
        help='split the scans into N parts, and work on one',
    )
    group.add_argument(
        '--part-id',
        type=non_negative_int,
        metavar='I',
        help='which part, from 0',
    )
    group.add_argument(
        '--report', type=Path, metavar='FILE', help='write what was done'
    )
    group.add_argument(
        '--keep-phi',
        action='store_true',
        help='keep paths, names of folders and patient ids in names of scans, '
        'messages, records and the report',
    )
    add_ray_option(group)
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument(
        '-q', '--quiet', action='store_true', help='print only failures'
    )
    loudness.add_argument(
        '-v',
        '--verbose',
        action='store_true',
        help='print the caveats and the times of every scan',
    )
    group.add_argument(
        '--debug',
        action='store_true',
        default=argparse.SUPPRESS,
        help='show the traceback of an error',
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        ConfigError: They contradict each other.
    """
    if args.list_series:
        return
    if args.out is None:
        raise ConfigError('infer: needs --out, a folder for the results.')
    if args.num_parts > 1 and args.part_id is None:
        raise ConfigError(
            f'infer: --num-parts {args.num_parts} needs --part-id, 0 to '
            f'{args.num_parts - 1}.'
        )
    if (args.part_id or 0) >= args.num_parts:
        raise ConfigError(
            f'infer: --part-id {args.part_id} of {args.num_parts} parts; they '
            'count from 0. Give --num-parts too.'
        )


def detector_of(args: argparse.Namespace) -> DetectorOptions:
    """The detector that the options of model and detections name.

    Raises:
        ConfigError: Options that contradict each other, or an invalid rule.
    """
    from lungdet.apis.detector_options import DetectorOptions

    rules = {
        'score_thr': args.score_thr,
        'lung_margin_mm': args.lung_margin,
        'merge_mm': args.merge,
    }
    rules = {name: value for name, value in rules.items() if value is not None}
    dropping = {
        '--score-thr': args.score_thr,
        '--fp-rate': args.fp_rate,
        '--lung-margin': args.lung_margin,
        '--merge': args.merge,
    }
    given = [name for name, value in dropping.items() if value is not None]
    if args.keep_all and given:
        raise ConfigError(
            f'--keep-all drops nothing, {" and ".join(given)} would; '
            'leave out the one or the other.'
        )
    return DetectorOptions(
        model=args.model,
        imports=args.imports,
        device=args.device,
        precision=args.precision,
        backend=args.backend,
        selection=None if args.keep_all else rules,
        fp_rate=args.fp_rate,
    )


def infer_options_of(args: argparse.Namespace) -> InferOptions:
    """How scans are read and written.

    Raises:
        ConfigError: An unknown format, or one whose library is missing.
    """
    from lungdet.apis.scan_steps import InferOptions
    from lungdet.apis.store_results import STORED_FORMATS
    from lungdet.exporters import DEFAULT_FORMATS, check_formats

    stored = STORED_FORMATS if args.store else ()
    return InferOptions(
        check_formats((*(args.formats or DEFAULT_FORMATS), *stored)),
        args.hu_offset,
        args.overwrite,
        args.keep_phi,
        args.store,
    )
