"""Options and argument types that several commands and tools share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungdet.errors import ConfigError

if TYPE_CHECKING:
    from lungdet.io.ray_cluster import RayOptions


def positive_int(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return number


def non_negative_int(text: str) -> int:
    """A whole number from 0, for argparse."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f'{text} is below 0')
    return number


def positive_float(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return number


def comma_list(text: str) -> list[str]:
    """Words between commas, for argparse."""
    words = [word.strip() for word in text.split(',')]
    if not all(words):
        raise argparse.ArgumentTypeError(f'{text!r} has an empty word')
    return words


def add_detector_options(parser: argparse._ActionsContainer) -> None:
    """Which network."""
    parser.add_argument(
        '--model',
        '--weights',
        dest='model',
        type=Path,
        metavar='NAME|PATH',
        help='checkpoint, release or a folder of either, or the name of a '
        'detector that comes with lungdet (default: lungdet_s)',
    )
    parser.add_argument(
        '--import',
        dest='imports',
        action='append',
        default=[],
        metavar='MODULE',
        help='module that registers your own classes, if the checkpoint uses '
        'any; may be given several times',
    )


def add_ray_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that processes the scans on a cluster."""
    parser.add_argument(
        '--ray',
        nargs='?',
        const='',
        metavar='ADDRESS',
        help='process the scans on a Ray cluster (default ADDRESS: that of '
        'RAY_ADDRESS, else a cluster on this machine)',
    )


def ray_options(
    args: argparse.Namespace,
    *,
    threads: int | None = None,
    workers: int | None = None,
) -> RayOptions | None:
    """The cluster given on a command line, None without one.

    Args:
        args: Result of a parser with ``--ray``.
        threads: Processors of each worker.
        workers: Number of workers at most.

    Raises:
        ConfigError: A path where an address belongs.
    """
    from lungdet.io.ray_cluster import RayOptions

    if args.ray is None:
        return None
    if args.ray and Path(args.ray).exists():
        raise ConfigError(
            f'--ray {args.ray}: is a path, not the address of a cluster; put '
            '--ray last.'
        )
    return RayOptions(args.ray or None, threads, workers)


def add_cfg_options(
    parser: argparse.ArgumentParser,
    name: str = '--cfg-options',
    what: str = 'the config',
) -> None:
    """The option of all tools that changes values of a config."""
    parser.add_argument(
        name,
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help=f'change values of {what}',
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of both ``tools/train.py`` and ``tools/test.py``."""
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        default='none',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        help='of a run in several processes',
    )
    parser.add_argument(
        '--verbose', action='store_true', help='print all that is logged'
    )
    # torch.distributed.launch passes this; torchrun sets the variable
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


class ConfigOptions(argparse.Action):
    """``KEY=VALUE ...`` to a dict by mmengine's rules, with two exceptions.

    Names of scans are text (mmengine reads ``['001']`` as the number 1), and
    text keeps its spaces (mmengine removes them, but folder names may have
    them).
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
                parser.error(f'{option_string}: {word!r} is not KEY=VALUE')
        DictAction(self.option_strings, self.dest)(parser, namespace, values)
        options = getattr(namespace, self.dest)
        for key, value in (word.split('=', maxsplit=1) for word in values):
            if key.endswith('_series'):
                options[key] = scan_names(value)
            elif ' ' in value and not set(value) & set(',[('):
                options[key] = value.strip('\'"')


def scan_names(value: str) -> list[str] | str | None:
    """Names from ``['a','b']`` or ``a,b``, one name alone, or None."""
    if value == 'None':
        return None
    words = [word.strip(' \'"') for word in value.strip('[()] ').split(',')]
    if ',' in value or value.startswith(('[', '(')):
        return [word for word in words if word]
    return words[0]
