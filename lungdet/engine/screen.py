"""What a run shows: one line for each step, and a bar with the time left.

mmengine prints everything that it logs. Here the log file gets all of it, and
the screen only what a user waits for; ``verbose=True`` in a config shows the
rest too.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from tqdm import tqdm

from lungdet.registry import HOOKS

ON_SCREEN = {'on_screen': True}  # marks a record of the log for the screen
SECONDS = 60.0  # between lines where there is no terminal for a bar


def say(text: str) -> None:
    """Log a line and show it."""
    MMLogger.get_current_instance().info(text, extra=ON_SCREEN)


class ScreenHandler(logging.StreamHandler):
    """Shows marked records and warnings, without breaking a bar."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter('%(message)s'))
        self.addFilter(
            lambda record: (
                record.levelno >= logging.WARNING
                or getattr(record, 'on_screen', False)
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        prefix = 'caveat: ' if record.levelno == logging.WARNING else ''
        tqdm.write(f'{prefix}{self.format(record)}', file=sys.stdout)
        sys.stdout.flush()


def quiet(logger: MMLogger) -> None:
    """Let a logger's screen show only marked records; its file keeps all."""
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.handlers.remove(handler)
            screen = ScreenHandler()
            screen.setLevel(handler.level)
            logger.handlers.append(screen)


def shown(path: str | Path) -> str:
    """A path as short as it can be written."""
    path = Path(path)
    absolute, here = path.absolute(), Path.cwd()
    return str(
        absolute.relative_to(here) if absolute.is_relative_to(here) else path
    )


class Progress:
    """A bar on a terminal, else a line from time to time.

    Args:
        name: Name that is shown.
        total: Number of all steps.
        done: Steps done earlier.
        keep: Whether the bar stays when it is full.
    """

    def __init__(
        self, name: str, total: int, done: int = 0, *, keep: bool = True
    ) -> None:
        self.bar: Any = None
        self.name, self.total, self.done, self.first = name, total, done, done
        self.started = self.told = time.monotonic()
        if sys.stderr.isatty():
            self.bar = tqdm(
                total=total,
                initial=done,
                desc=name,
                leave=keep,
                dynamic_ncols=True,
                file=sys.stderr,
                bar_format='{desc} {percentage:3.0f}% |{bar}| {n_fmt}/'
                '{total_fmt}, {remaining} left{postfix}',
            )

    def step(self, **values: str) -> None:
        """Count a step; values are shown beside it."""
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix(values, refresh=False)
            self.bar.update()
            return
        now = time.monotonic()
        if now - self.told >= SECONDS:
            self.told = now
            each = (now - self.started) / (self.done - self.first)
            left = tqdm.format_interval(each * (self.total - self.done))
            more = ''.join(f', {k} {v}' for k, v in values.items())
            say(f'{self.name}: {self.done} of {self.total}, {left} left{more}')

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show what a run does, how far it is, and where its files are."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.train: Progress | None = None
        self.inner: Progress | None = None

    def before_train(self, runner: Any) -> None:
        if _shows(runner):
            folder = shown(runner.work_dir)
            say(
                f'train {_config_name(runner)}: {_scans(runner)} scans, '
                f'{runner.max_epochs} epochs, {runner.max_iters} steps; all '
                f'that is logged: {folder}'
            )
            self.train = Progress('train', runner.max_iters, runner.iter)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        if self.train is not None:
            loss = (outputs or {}).get('loss')
            known = {} if loss is None else {'loss': f'{float(loss):.3f}'}
            self.train.step(epoch=f'{runner.epoch + 1}', **known)

    def after_train(self, runner: Any) -> None:
        if self.train is not None:
            self.train.close()
            say(f'trained: {shown(Path(runner.work_dir) / "last_checkpoint")}')
            self.train = None

    def before_val_epoch(self, runner: Any) -> None:
        if _shows(runner):
            number = len(runner.val_dataloader)
            self.inner = Progress('validate', number, keep=False)

    def before_test_epoch(self, runner: Any) -> None:
        if _shows(runner):
            number = len(runner.test_dataloader)
            say(f'test {_config_name(runner)}: {number} scans')
            self.inner = Progress('test', number)

    def after_val_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        self._step_inner()

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        self._step_inner()

    def _step_inner(self) -> None:
        if self.inner is not None:
            self.inner.step()
            if self.inner.done >= self.inner.total:
                # the table comes next
                self.inner.close()
                self.inner = None


def _shows(runner: Any) -> bool:
    return not runner.rank and not runner.cfg.get('verbose')


def _scans(runner: Any) -> int:
    return len(runner.train_dataloader.dataset.metainfo['series_uids'])


def _config_name(runner: Any) -> str:
    return Path(str(runner.cfg.filename or 'a config')).stem
