"""What a resumed training must share with the one that it continues.

A checkpoint brings its optimiser's and schedulers' state, which replaces what
a config says. A config that differs is refused, unless a new schedule is asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.hooks import EMAHook, Hook

from lungdet.engine.checkpoint import CheckpointMeta
from lungdet.engine.plain_values import plain
from lungdet.engine.resume import (
    check_epochs,
    check_scans,
    restore_training,
)
from lungdet.errors import CheckpointError

SAME_STATE = (
    'optim_wrapper.optimizer.type',
    'optim_wrapper.constructor',
    'optim_wrapper.paramwise_cfg',
)


def training_schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a checkpoint's state replaces, and the batch and seed
    that its position depends on, by dotted key."""
    loader = config.get('train_dataloader') or {}
    batches = ('batch_size', 'batch_sampler')
    values = {
        'optim_wrapper': config.get('optim_wrapper'),
        'param_scheduler': config.get('param_scheduler'),
        'train_dataloader': {key: loader.get(key) for key in batches},
    }
    return {
        **dict(_flat(plain(values), '')),
        'randomness.seed': (config.get('randomness') or {}).get('seed'),
    }


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f'{key}.{name}' if key else str(name))
    elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for number, item in enumerate(value):
            yield from _flat(item, f'{key}.{number}')
    else:
        yield key, value


def changed_keys(
    stored: Mapping[str, Any], schedule: Mapping[str, Any]
) -> list[str]:
    """Keys whose values differ, in the order of the config."""
    keys = [*schedule, *(key for key in stored if key not in schedule)]
    return [key for key in keys if stored.get(key) != schedule.get(key)]


def check_schedule(
    stored: Mapping[str, Any], schedule: Mapping[str, Any], where: str
) -> None:
    """Refuse a config whose schedule would not be used.

    Args:
        stored: Schedule of the checkpoint.
        schedule: Schedule of the config.
        where: Names the checkpoint.

    Raises:
        CheckpointError: They differ.
    """
    if keys := changed_keys(stored, schedule):
        differences = '; '.join(
            f'{key} was {stored.get(key)!r} and is {schedule.get(key)!r}'
            for key in keys[:5]
        )
        more = f'; and {len(keys) - 5} more' if keys[5:] else ''
        raise CheckpointError(
            f'{where}: was trained with another schedule: {differences}'
            f'{more}. Resume with the values of before, or with '
            '--resume-with-new-schedule, which uses those of the config.'
        )


def check_averaging(
    checkpoint: Mapping[str, Any], hooks: Iterable[Hook], where: str
) -> None:
    """Refuse averaged weights as those to train further.

    A checkpoint of a training with ``EMAHook`` has the averaged weights in its
    ``state_dict``, and only that hook takes the trained ones.

    Args:
        checkpoint: To continue from.
        hooks: Of the run.
        where: Names the checkpoint.

    Raises:
        CheckpointError: It has both, and the run has no ``EMAHook``.
    """
    averages = any(isinstance(hook, EMAHook) for hook in hooks)
    if 'ema_state_dict' in checkpoint and not averages:
        raise CheckpointError(
            f'{where}: its training averaged the weights by an EMAHook, and '
            'this run has none, so it would continue from the averages '
            'instead of the trained weights. Resume with the EMAHook of '
            'before in custom_hooks, or start a new run from the averages by '
            'load_from.'
        )


def position_in_new_epochs(
    meta: CheckpointMeta, steps: int, where: str
) -> int:
    """The number of steps so far, had epochs been of this run's length.

    Args:
        meta: Metadata of the checkpoint.
        steps: Steps of an epoch in this run.
        where: Names the checkpoint.

    Raises:
        CheckpointError: It was written within an epoch, whose rest is not
            known in batches of another size.
    """
    if meta.epoch_length == steps:
        return meta.iter
    if meta.iter != meta.epoch * meta.epoch_length:
        raise CheckpointError(
            f'{where}: was written within an epoch of {meta.epoch_length} '
            f'batches, and an epoch of this run has {steps}; what is left of '
            'it is not known. Resume from a checkpoint epoch_N.pth, or with '
            'the batch_size of before.'
        )
    return meta.epoch * steps


def start_new_schedule(
    checkpoint: Mapping[str, Any],
    optim_wrapper: Any,
    schedulers: Sequence[Any],
    *,
    changed: Sequence[str],
    steps: int,
    epochs: int,
    epoch_length: int,
) -> bool:
    """Bring fresh schedulers to a position, and keep the optimiser's state.

    Each parameter group gets the values that it would have at that position,
    had the training used the config from the start.

    Args:
        checkpoint: With the optimiser's state.
        optim_wrapper: Fresh, of the config.
        schedulers: Fresh, of the config.
        changed: Keys in which the config differs from the checkpoint.
        steps: Done.
        epochs: Done.
        epoch_length: Steps of an epoch.

    Returns:
        Whether the optimiser's state could be kept; not with another
        optimiser or other groups.
    """
    optimizer = optim_wrapper.optimizer
    keeps = not any(key.startswith(SAME_STATE) for key in changed)
    # schedulers warn unless the optimiser has made a step
    for scheduler in schedulers:
        scheduler.optimizer._global_step = steps
    for step in range(1, steps + 1):
        ended = epoch_length and step % epoch_length == 0
        for scheduler in schedulers:
            if not scheduler.by_epoch:
                scheduler.step()
        if ended and step // epoch_length <= epochs:
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()
    if keeps:
        stored = checkpoint['optimizer']
        groups = optimizer.state_dict()['param_groups']
        optimizer.load_state_dict(
            {'state': stored['state'], 'param_groups': groups}
        )
    return keeps


def resume_exactly(
    runner: Any, checkpoint: Mapping[str, Any], where: str
) -> None:
    """Continue a training as if it had not been interrupted.

    Args:
        runner: With optimiser and schedulers; its weights are loaded.
        checkpoint: To continue from.
        where: Names it.

    Raises:
        CheckpointError: Epochs, scans, schedule or number of schedulers
            differ.
    """
    meta, loop = runner.loaded, runner.train_loop
    loader = runner.train_dataloader
    series = loader.dataset.metainfo.get('series_uids', ())
    check_epochs(meta, len(loader), series, where)
    check_schedule(meta.schedule, training_schedule(runner.cfg), where)
    loop._epoch, loop._iter = meta.epoch, meta.iter
    restore_training(
        checkpoint,
        runner.optim_wrapper,
        runner.param_schedulers or [],
        where,
    )


def resume_anew(runner: Any, checkpoint: Mapping[str, Any], where: str) -> str:
    """Continue a training with the schedule of the config.

    Args:
        runner: With fresh optimiser and schedulers; its weights are loaded.
        checkpoint: To continue from.
        where: Names it.

    Returns:
        A line that says what is new.

    Raises:
        CheckpointError: The position in epochs of another length is not
            known, or there are new scans.
    """
    meta, loop = runner.loaded, runner.train_loop
    steps = len(runner.train_dataloader)
    metainfo = runner.train_dataloader.dataset.metainfo
    check_scans(meta.scans, metainfo.get('series_uids', ()), where)
    loop._epoch = meta.epoch
    loop._iter = position_in_new_epochs(meta, steps, where)
    changed = changed_keys(meta.schedule, training_schedule(runner.cfg))
    keeps = start_new_schedule(
        checkpoint,
        runner.optim_wrapper,
        runner.param_schedulers or [],
        changed=changed,
        steps=loop._iter,
        epochs=loop._epoch,
        epoch_length=steps,
    )
    return (
        f'a new schedule ({", ".join(changed[:5]) or "nothing differs"}); the '
        f'state of the optimiser {"is kept" if keeps else "starts anew"}'
    )
