"""The ``lungdet`` command: parses, calls, prints. Nothing is computed here.

Exit codes: 0 done, 1 internal error, 2 bad usage or input, 3 some scans
failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lungdet
from lungdet.errors import ConfigError, LungdetError, explain


def prepare_luna16(args: argparse.Namespace) -> int:
    """Prepare a LUNA16 download, or any part of one."""
    from lungdet.prepare import prepare_luna16

    summary = prepare_luna16(
        args.root,
        args.out,
        lidc_xml=args.lidc_xml,
        min_readers=args.min_readers,
        consensus=args.consensus,
        series=args.series,
        hu_offset=args.hu_offset,
        jobs=args.jobs,
        spacing_mm=args.spacing,
    )
    print(summary.table())
    return 3 if summary.failed else 0


def prepare_folder(args: argparse.Namespace) -> int:
    """Prepare a folder of a user's own scans."""
    from lungdet.prepare import prepare_folder

    summary = prepare_folder(
        args.root,
        args.out,
        annotations=args.annotations,
        series=args.series,
        hu_offset=args.hu_offset,
        jobs=args.jobs,
        spacing_mm=args.spacing,
    )
    print(summary.table())
    return 3 if summary.failed else 0


def phantom(args: argparse.Namespace) -> int:
    """Write synthetic chest scans in LUNA16's download format."""
    from lungdet.phantom import write_luna16_phantoms

    write_luna16_phantoms(
        args.out,
        scans=args.scans,
        seed=args.seed,
        size=args.size,
        jobs=args.jobs,
    )
    print(f'{args.scans} phantoms in {args.out}')
    return 0


def verify(args: argparse.Namespace) -> int:
    """Compare every stored array with its checksum."""
    from lungdet.io.case_store import CaseStore

    store = CaseStore(args.store)
    for uid in store.records:
        store.verify(uid)
    print(f'{len(store.records)} cases verified in {args.store}')
    return 0


def infer(args: argparse.Namespace) -> int:
    """Find nodules in one scan."""
    from lungdet.apis import NoduleInferencer

    for name in args.imports:
        import_module_of_user(name)
    inferencer = NoduleInferencer(args.weights, device=args.device)
    result = inferencer(
        args.scan,
        out_dir=args.out,
        series_uid=args.series,
        hu_offset=args.hu_offset,
    )
    for warning in result.warnings:
        print(f'warning: {warning}', file=sys.stderr)
    print(
        f'{len(result.findings)} marks for series {result.series_uid} in '
        f'{args.out} (research use only)'
    )
    return 0


def import_module_of_user(name: str) -> None:
    """Import a module that registers classes of the user's own.

    Raises:
        ConfigError: It cannot be imported.
    """
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f'--import {name}: {error}; check the name and PYTHONPATH.'
        ) from error


def froc(args: argparse.Namespace) -> int:
    """Score a submission by LUNA16's rule."""
    from lungdet.apis import evaluate

    if args.plot:
        evaluate.check_figure(args.plot)
    reference = evaluate.load_reference(
        args.annotations, args.excluded, args.seriesuids
    )
    groups = args.strata and evaluate.load_groups(
        args.strata,
        reference,
        annotations=args.annotations,
        scan_table=args.scan_table,
    )
    paths = [args.submission, *args.compare]
    evaluations = [
        evaluate.evaluate_submission(
            submission,
            reference,
            read_out=args.read_out,
            max_marks=args.max_marks or None,
            bootstrap=args.bootstrap,
            seed=args.seed,
            groups=groups,
            candidates=given_candidates(args.candidates, path),
        )
        for path, submission in zip(
            paths, evaluate.load_submissions(paths, reference)
        )
    ]
    first, *others = evaluations
    differences = evaluate.compare(
        first, others, samples=args.bootstrap, seed=args.seed
    )
    for evaluation in evaluations:
        print(evaluation.text(), end='\n\n')
    for other, found in zip(others, differences):
        print(evaluate.difference_text(first, other, found), end='\n\n')
    if args.json:
        evaluate.write_json(args.json, evaluations, differences)
    if args.plot:
        evaluate.write_plot(args.plot, evaluations)
    if args.details:
        write_details(first, args.details, args.cases)
    return 0


def given_candidates(option: str | None, submission: Path) -> Any:
    """Centres of ``--candidates LIST``, or of the submission itself."""
    from lungdet.io.luna16 import read_candidates

    return None if option is None else read_candidates(option or submission)


def write_details(evaluation: Any, folder: Path, cases: Path | None) -> None:
    """Tables and pictures; drawing is loaded for them alone."""
    from lungdet.apis import details
    from lungdet.io.case_store import CaseStore

    store = CaseStore(cases) if cases else None
    for path in details.write_details(evaluation, folder, store=store):
        print(f'written: {path}')


def positive_int(text: str) -> int:
    """A whole number above 0, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return value


def count(text: str) -> int:
    """A whole number from 0."""
    number = int(text)
    if number < 0:
        raise ValueError(f'{number} is below 0')
    return number


def build_parser() -> argparse.ArgumentParser:
    """All sub-commands with their options."""
    parser = argparse.ArgumentParser(
        prog='lungdet',
        description='Lung nodule detection in chest CT. Research use only.',
    )
    parser.add_argument(
        '--version', action='version', version=lungdet.__version__
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of an error'
    )
    commands = parser.add_subparsers(dest='command', required=True)

    prepare = commands.add_parser('prepare', help='scans to training cases')
    add_prepare(prepare)
    add_phantom(commands.add_parser('phantom', help=phantom.__doc__))
    sub = commands.add_parser('verify', help=verify.__doc__)
    sub.add_argument('store', type=Path, help='folder with prepared cases')
    sub.set_defaults(run=verify)
    add_infer(commands.add_parser('infer', help=infer.__doc__))
    add_froc(commands.add_parser('froc', help=froc.__doc__))
    return parser


def add_prepare(prepare: argparse.ArgumentParser) -> None:
    """Options of ``lungdet prepare``."""
    kinds = prepare.add_subparsers(dest='kind', required=True)
    for name, function in (
        ('luna16', prepare_luna16),
        ('folder', prepare_folder),
    ):
        sub = kinds.add_parser(name, help=function.__doc__)
        sub.add_argument('root', type=Path, help='folder with the scans')
        sub.add_argument('out', type=Path, help='folder for the cases')
        sub.add_argument(
            '--jobs',
            type=positive_int,
            default=1,
            help='scans prepared at a time, each in a process of its own',
        )
        sub.add_argument(
            '--spacing', type=float, default=1.0, help='mm, isotropic'
        )
        sub.add_argument(
            '--series',
            nargs='+',
            default=(),
            metavar='UID',
            help='only these series of DICOM folders',
        )
        sub.add_argument(
            '--hu-offset',
            type=int,
            metavar='HU',
            help='for scans stored without their offset, -1024 as a rule; '
            'scans in HU are left alone',
        )
        sub.set_defaults(run=function)
    sub = kinds.choices['luna16']
    sub.add_argument(
        '--lidc-xml', type=Path, help='folder with the LIDC reader XML'
    )
    sub.add_argument(
        '--min-readers',
        type=positive_int,
        default=3,
        help='readers that must have outlined a nodule for its mask',
    )
    sub.add_argument(
        '--consensus',
        choices=('half', 'union'),
        default='half',
        help='mask: voxels that half of its readers drew, or any of them',
    )
    kinds.choices['folder'].add_argument(
        '--annotations',
        type=Path,
        help='a csv with centres and diameters (coordX, coordY, coordZ, '
        'diameter_mm) or with corners (x1, y1, z1, x2, y2, z2) in world mm, '
        'or a folder of masks',
    )


def add_phantom(sub: argparse.ArgumentParser) -> None:
    """Options of ``lungdet phantom``."""
    sub.add_argument('out', type=Path, help='folder for the download')
    sub.add_argument(
        '--scans', type=positive_int, default=10, help='how many scans'
    )
    sub.add_argument(
        '--seed', type=count, default=0, help='equal seeds give equal files'
    )
    sub.add_argument(
        '--size',
        choices=('small', 'full'),
        default='full',
        help='a grown chest, or a quarter of it',
    )
    sub.add_argument(
        '--jobs',
        type=positive_int,
        default=1,
        help='scans made at a time, each in a process of its own',
    )
    sub.set_defaults(run=phantom)


def add_infer(sub: argparse.ArgumentParser) -> None:
    """Options of ``lungdet infer``."""
    sub.add_argument('scan', type=Path, help='image file or DICOM folder')
    sub.add_argument(
        '--weights', type=Path, required=True, help='checkpoint, or work dir'
    )
    sub.add_argument(
        '--out', type=Path, required=True, help='folder for the results'
    )
    sub.add_argument('--device', default='auto', help='auto, cpu or cuda[:N]')
    sub.add_argument(
        '--series', help='SeriesInstanceUID, if there are several'
    )
    sub.add_argument(
        '--hu-offset', type=int, help='HU of a stored 0, if the file lacks it'
    )
    sub.add_argument(
        '--import',
        dest='imports',
        action='append',
        default=[],
        metavar='MODULE',
        help='a module of your own that the checkpoint needs',
    )
    sub.set_defaults(run=infer)


def add_froc(sub: argparse.ArgumentParser) -> None:
    """Options of ``lungdet froc``."""
    sub.add_argument('submission', type=Path, help='csv of marks, or csv.gz')
    group = sub.add_argument_group('reference, by default the official one')
    group.add_argument('--annotations', type=Path, help='csv of nodules')
    group.add_argument('--excluded', type=Path, help='csv of exclusions')
    group.add_argument(
        '--seriesuids', type=Path, help='the scans: one uid a line, no header'
    )
    group = sub.add_argument_group('rule')
    group.add_argument(
        '--read-out',
        choices=('interp', 'step', 'nearest', 'next'),
        default='interp',
        help='how the curve is read; interp is the official one',
    )
    group.add_argument(
        '--max-marks', type=count, default=100, help='cap a scan, 0 for none'
    )
    group.add_argument(
        '--candidates',
        nargs='?',
        const='',
        metavar='LIST',
        help='second track: the marks are given candidates, of LIST if named',
    )
    group = sub.add_argument_group('statistics')
    group.add_argument(
        '--bootstrap', type=count, default=1000, help='draws, 0 for none'
    )
    group.add_argument(
        '--seed', type=int, default=0, help='of the draws, default 0'
    )
    group.add_argument(
        '--compare',
        type=Path,
        nargs='+',
        default=[],
        help='other submissions, compared pair by pair with the first',
    )
    group.add_argument(
        '--strata',
        metavar='COLUMN',
        help='diameter, subset, or a column of --annotations or --scan-table',
    )
    group.add_argument(
        '--scan-table', type=Path, help='csv with seriesuid and more columns'
    )
    group = sub.add_argument_group('files to write')
    group.add_argument('--json', type=Path, help='all figures')
    group.add_argument('--plot', type=Path, help='curves: png, svg or pdf')
    group.add_argument(
        '--details',
        type=Path,
        metavar='DIR',
        help='tables by scan, nodule and false positive; calibration curve',
    )
    group.add_argument(
        '--cases', type=Path, help='prepared cases, for pictures in --details'
    )
    sub.set_defaults(run=froc)


class ConfigOptions(argparse.Action):
    """``KEY=VALUE ...`` to a dict by mmengine's rules, but scans are text.

    mmengine reads ``['001']`` as the number 1, which names no scan.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction

        for word in values:
            if '=' not in word:
                parser.error(f'{option_string}: {word!r} is no KEY=VALUE')
        DictAction(self.option_strings, self.dest)(parser, namespace, values)
        options = getattr(namespace, self.dest)
        for key, value in (word.split('=', maxsplit=1) for word in values):
            if key.endswith('_series'):
                options[key] = scan_names(value)


def scan_names(value: str) -> list[str] | str | None:
    """Names from ``['a','b']`` or ``a,b``, one name alone, or None."""
    if value == 'None':
        return None
    words = [word.strip(' \'"') for word in value.strip('[()] ').split(',')]
    if ',' in value or value.startswith(('[', '(')):
        return [word for word in words if word]
    return words[0]


def add_cfg_options(
    parser: argparse.ArgumentParser,
    name: str = '--cfg-options',
    what: str = 'the config',
) -> None:
    """The option by which all tools change values of a config."""
    parser.add_argument(
        name,
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help=f'change values of {what}',
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What ``tools/train.py`` and ``tools/test.py`` have in common."""
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        default='none',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        help='of a run in several processes',
    )
    # what torch.distributed.launch passes; torchrun sets the variable
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


@contextmanager
def clean_errors(program: str, *, debug: bool = False) -> Iterator[None]:
    """Turn expected errors into one line and an exit code.

    Args:
        program: Named in front.
        debug: Show the traceback instead.

    Raises:
        SystemExit: 2 for bad usage or input, 130 where interrupted.
    """
    try:
        yield
    except (LungdetError, OSError) as error:
        if debug:
            raise
        print(f'{program}: {explain(error)}', file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command == 'froc' and args.cases and not args.details:
        parser.error('--cases: pictures go into --details DIR; name it too')
    try:
        with clean_errors('lungdet', debug=args.debug):
            return args.run(args)
    except SystemExit as stopped:
        return int(stopped.code or 0)


if __name__ == '__main__':
    sys.exit(main())
