"""Hooks of every training: head schedule, divergence, checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper

from lungdet.engine.checkpoint import numbered_checkpoints
from lungdet.engine.protocols import FollowsEpochs
from lungdet.errors import ConfigError, DivergenceError
from lungdet.io.atomic import write_text
from lungdet.registry import HOOKS


def unwrapped(model: Any) -> Any:
    """The model without its wrapper for several processes."""
    return model.module if is_model_wrapper(model) else model


@HOOKS.register_module()
class HeadScheduleHook(Hook):
    """Tell the model its epoch, counted from 1, at which heads may start.

    Only for a model that ``FollowsEpochs``.
    """

    def before_train_epoch(self, runner: Any) -> None:
        model = unwrapped(runner.model)
        if isinstance(model, FollowsEpochs):
            model.set_epoch(runner.epoch + 1)


@HOOKS.register_module()
class AverageBuffersHook(Hook):
    """Average running statistics over ranks before a validation.

    It comes before ``EMAHook`` exchanges the weights.
    """

    priority = 'VERY_HIGH'

    def before_val_epoch(self, runner: Any) -> None:
        runner.average_buffers()


@HOOKS.register_module()
class StopOnNaNHook(Hook):
    """Stop at the first loss that is not finite.

    Raises:
        DivergenceError: The message has every loss and the samples of the
            step.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        values = {
            k: float(torch.as_tensor(v).detach())
            for k, v in (outputs or {}).items()
        }
        if all(abs(v) < float('inf') for v in values.values()):
            return
        keys = [
            sample.metainfo.get('sample_key', '?')
            for sample in (data_batch or {}).get('data_samples', [])
        ]
        raise DivergenceError(
            f'iteration {runner.iter}: a loss is not finite: {values}. '
            f'Samples: {"; ".join(keys)}. Lower the learning rate, or '
            'inspect these samples.'
        )


@HOOKS.register_module()
class LungCheckpointHook(Hook):
    """Save by epoch or iteration, keep the newest and the best.

    An old file is deleted only after a new one is complete.

    Args:
        interval: Epochs between checkpoints; the last epoch is saved too.
        iter_interval: Iterations between additional checkpoints, 0 for none.
        max_keep: Number of numbered files that are kept.
        save_best: Metric whose best checkpoint is kept as ``best.pth``.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        iter_interval: int = 0,
        *,
        max_keep: int = 2,
        save_best: str | None = None,
    ) -> None:
        self.interval = interval
        self.iter_interval = iter_interval
        self.max_keep = max_keep
        self.save_best = save_best

    def before_train(self, runner: Any) -> None:
        """Remove half-written files of a killed run.

        Raises:
            ConfigError: Checkpoints would be saved between two updates of the
                weights, whose gradients they do not contain.
        """
        updates_every = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
        steps = len(runner.train_dataloader)
        if steps % updates_every or self.iter_interval % updates_every:
            raise ConfigError(
                f'optim_wrapper.accumulative_counts: {updates_every} does not '
                f'divide the {steps} steps of an epoch and checkpoint.'
                f'iter_interval ({self.iter_interval}), so a run that resumes '
                'would lose gradients. Change one of them.'
            )
        if runner.rank == 0:
            for left in Path(runner.work_dir).glob('.tmp-*.pth'):
                left.unlink()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        if self.iter_interval and (runner.iter + 1) % self.iter_interval == 0:
            self._save(runner, f'iter_{runner.iter + 1}.pth', epoch=None)

    def after_train_epoch(self, runner: Any) -> None:
        done = runner.epoch + 1
        if done % self.interval == 0 or done == runner.max_epochs:
            self._save(runner, f'epoch_{done}.pth', epoch=done)

    def after_val_epoch(
        self, runner: Any, metrics: dict[str, float] | None = None
    ) -> None:
        if self.save_best is None:
            return
        score = (metrics or {}).get(self.save_best)
        if score is None:
            runner.logger.warning(
                f'save_best: {self.save_best!r} is not among the metrics '
                f'{sorted(metrics or {})}'
            )
            return
        best = runner.message_hub.runtime_info.get('best_score')
        if best is None or score > best:
            runner.message_hub.update_info('best_score', float(score))
            runner.save_checkpoint(
                runner.work_dir, 'best.pth', epoch=runner.epoch
            )

    def _save(self, runner: Any, name: str, *, epoch: int | None) -> None:
        runner.save_checkpoint(runner.work_dir, name, epoch=epoch)
        if runner.rank == 0:
            write_text(Path(runner.work_dir) / 'last_checkpoint', name)
            files = numbered_checkpoints(Path(runner.work_dir))
            for old in files[: -self.max_keep]:
                old.unlink()
        if torch.distributed.is_initialized():
            torch.distributed.barrier()


def with_checkpoint_hook(
    default_hooks: Mapping[str, Any] | None, others: Iterable[Any]
) -> dict[str, Any]:
    """Default hooks, with ``LungCheckpointHook`` unless they name another.

    mmengine's default is its own hook, whose checkpoints lack what a resume
    needs. A ``checkpoint`` of None, for no checkpoints, is kept.

    Args:
        default_hooks: Of a config.
        others: Hooks, or configs of hooks, that are added to them.

    Raises:
        ConfigError: ``checkpoint`` is not derived from ``LungCheckpointHook``,
            or mmengine's hook is among the others.
    """
    hooks = dict(default_hooks or {})
    hook = hooks.setdefault('checkpoint', {})
    if isinstance(hook, Mapping):
        hook = {'type': LungCheckpointHook.__name__, **hook}
        hooks['checkpoint'] = hook
    kind = _class_of(hook)
    if hook is not None and not issubclass(kind, LungCheckpointHook):
        raise ConfigError(
            f'default_hooks.checkpoint: {kind.__name__} writes no checkpoints '
            'that can be resumed. Give LungCheckpointHook, or a class derived '
            'from it, and other hooks in custom_hooks.'
        )
    for other in others:
        if issubclass(_class_of(other), CheckpointHook):
            raise ConfigError(
                f'custom_hooks: {_class_of(other).__name__} writes no '
                'checkpoints that can be resumed. Leave it out, and set '
                'default_hooks.checkpoint.'
            )
    return hooks


def _class_of(hook: Any) -> type:
    """The class of a hook or of its config; ``object`` for a function."""
    if not isinstance(hook, Mapping):
        return type(hook)
    HOOKS.check_type(dict(hook))
    kind = HOOKS.class_of(hook)
    return kind if inspect.isclass(kind) else object
