"""Exact resume: every random draw is a function of (seed, position).

No generator's state is stored. Checkpoints store counters, which determine the
order of the data and the random draws of each sample and of the model. A run
that was killed and resumed ends bit for bit like an uninterrupted one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import BatchSampler, Sampler

from lungdet.engine.checkpoint import CheckpointMeta
from lungdet.engine.plain_values import plain
from lungdet.engine.pretraining_hooks import ALARMS, FRESH_RANK
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import CheckpointError, ConfigError
from lungdet.registry import DATA_SAMPLERS, HOOKS, LOOPS
from lungdet.seeds import Key, SeedStream, seed_sequence

# keys of mmengine's runtime info that a checkpoint stores
KEPT_INFO = ('best_score', FRESH_RANK, *ALARMS)


@DATA_SAMPLERS.register_module()
class ExactSampler(Sampler):
    """Order of an epoch from (seed, epoch), distributed to the ranks in turn.

    Args:
        dataset: The data set.
        shuffle: Whether to permute.
        seed: Seed of the permutation; mmengine passes the run's seed.
        round_up: Repeat samples so that every rank has the same number; needed
            in training, where ranks must take the same number of steps.

    Attributes:
        start: Samples of this rank to skip in the next iteration.
    """

    def __init__(
        self,
        dataset: Any,
        shuffle: bool = True,
        *,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = seed or 0
        self.round_up = round_up
        self.epoch = 0
        self.start = 0

    def order(self) -> np.ndarray:
        """Data set indices of the whole epoch, all ranks."""
        num = len(self.dataset)
        order = np.arange(num)
        if self.shuffle:
            sequence = seed_sequence(self.seed, SeedStream.ORDER, self.epoch)
            order = self.shuffled(np.random.default_rng(sequence))
        if self.round_up and num:
            order = np.resize(
                order, -(-num // self.world_size) * self.world_size
            )
        return order

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Every index of the data set once, in a random order."""
        return rng.permutation(len(self.dataset))

    def __iter__(self) -> Iterator[Key]:
        order = self.order()
        first, self.start = self.start, 0
        for pos in range(self.rank, len(order), self.world_size)[first:]:
            yield Key(int(order[pos]), self.epoch, pos)

    def __len__(self) -> int:
        num = len(self.dataset)
        if self.round_up:
            return -(-num // self.world_size)
        return len(range(self.rank, num, self.world_size))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order."""
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class MixSampler(ExactSampler):
    """An ``ExactSampler`` that spreads each kind of sample over the epoch.

    Every batch then has about the mix of the whole epoch. The data set must
    have ``kinds``, one for each sample.
    """

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Every index once; the samples of a kind lie at even distances,
        jittered by one distance, so that ranks in turn get all kinds."""
        order = super().shuffled(rng)
        _, kind = np.unique(self.dataset.kinds, return_inverse=True)
        moment = np.empty(len(order))
        for number in range(kind.max() + 1):
            of_kind = np.flatnonzero(kind[order] == number)
            jitter = rng.random(len(of_kind))
            moment[of_kind] = (np.arange(len(of_kind)) + jitter) / len(of_kind)
        return order[moment.argsort(kind='stable')]


@DATA_SAMPLERS.register_module()
class LateBatchSampler(Sampler):
    """Smaller batches in the last epochs, for crops that are larger then.

    An epoch keeps its number of batches, and with it the schedule and the
    meaning of ``iter``; in later epochs the end of its order is left out.

    Args:
        sampler: Order of the samples; the data loader passes its own.
        batch_size: Samples of a batch; likewise.
        late_batch_size: Samples of a batch in later epochs.
        late_epoch: The first of these epochs, counted from 1; ``load_config``
            passes that of the ``PlaceCrop``.
        drop_last: Whether an incomplete batch is left out; as ``sampler``.

    Raises:
        ConfigError: Later batches are larger, so the order is too short.
    """

    def __init__(
        self,
        sampler: ExactSampler,
        batch_size: int,
        late_batch_size: int,
        late_epoch: int,
        *,
        drop_last: bool = False,
    ) -> None:
        if late_batch_size > batch_size:
            raise ConfigError(
                f'batch_sampler.late_batch_size: {late_batch_size} is more '
                f'than the batch_size of {batch_size}, so an epoch would run '
                'out of samples. Lower it, or raise batch_size.'
            )
        self.sampler = sampler
        self.first_size, self.late_size = batch_size, late_batch_size
        self.late_epoch = late_epoch
        self.drop_last = drop_last

    @property
    def batch_size(self) -> int:
        """Samples of a batch in the sampler's epoch."""
        is_late = self.sampler.epoch + 1 >= self.late_epoch
        return self.late_size if is_late else self.first_size

    def __iter__(self) -> Iterator[list[int]]:
        done = self.sampler.start // self.batch_size
        return itertools.islice(
            self._batches(self.batch_size), len(self) - done
        )

    def __len__(self) -> int:
        return len(self._batches(self.first_size))

    def _batches(self, size: int) -> BatchSampler:
        return BatchSampler(self.sampler, size, self.drop_last)


@LOOPS.register_module()
class ExactEpochLoop(EpochBasedTrainLoop):
    """Epoch loop that continues in the middle of an epoch.

    ``iter`` alone determines how much of the epoch is done. A validation that
    was due when the run was killed runs first, unless it is switched off now.
    """

    val_owed = False

    def run(self) -> torch.nn.Module:
        """Run all epochs.

        Raises:
            ConfigError: A scan that is validated is trained on, or was by
                the weights that the run starts from.
        """
        if self.runner.val_loop is not None:
            self._check_validation()
        self.runner.call_hook('before_train')
        if self.val_owed:
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self.validates_after(self._epoch):
                self._validate()
        # ends persistent workers, whose cost is known only then
        self.dataloader._iterator = None
        self.runner.call_hook('after_train')
        return self.runner.model

    def validates_after(self, epoch: int) -> bool:
        """Whether validation follows ``epoch`` finished epochs."""
        return (
            self.runner.val_loop is not None
            and epoch >= self.val_begin
            and (epoch % self.val_interval == 0 or epoch == self._max_epochs)
        )

    def _check_validation(self) -> None:
        runner = self.runner
        trained = [TrainingScans.of_data(self.dataloader.dataset.metainfo)]
        if runner.loaded is not None:
            trained.append(runner.loaded.scans)
        if runner.pretraining is not None:
            trained.append(TrainingScans.from_dict(runner.pretraining))
        for scans in trained:
            scans.check_validation(runner.val_loop.dataloader.dataset.metainfo)

    def _validate(self) -> None:
        if self.runner.val_loop is not None:
            self.runner.val_loop.run()
        self.val_owed = False

    def run_epoch(self) -> None:
        skip = self._iter - self._epoch * len(self.dataloader)
        batches = self.dataloader.batch_sampler
        batches.sampler.set_epoch(self._epoch)
        batches.sampler.start = skip * batches.batch_size
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if skip < len(self.dataloader):
            for idx, data_batch in enumerate(self.dataloader, skip):
                self.run_iter(idx, data_batch)
        self.val_owed = self.validates_after(self._epoch + 1)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Run one step, and turn its losses into numbers at once.

        In mmengine, every hook that reads a loss waits for the GPU.
        """
        call_hook = self.runner.call_hook
        call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        losses = self.runner.model.train_step(
            data_batch, optim_wrapper=self.runner.optim_wrapper
        )
        tensors = {k: v for k, v in losses.items() if torch.is_tensor(v)}
        values = [v.detach().double() for v in tensors.values()]
        numbers = torch.stack(values).tolist() if values else []
        call_hook(
            'after_train_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs={**losses, **dict(zip(tensors, numbers))},
        )
        self._iter += 1


def check_epochs(
    meta: CheckpointMeta, steps: int, series: Collection[str], where: str
) -> None:
    """Compare the epochs of a checkpoint with those of this run.

    Args:
        meta: Metadata of the checkpoint.
        steps: Batches of an epoch, of this run.
        series: Scans of this run.
        where: Names the checkpoint in the message.

    Raises:
        CheckpointError: They differ, so ``iter`` would mean another step.
    """
    check_scans(meta.scans, series, where)
    if meta.epoch_length != steps:
        raise CheckpointError(
            f'{where}: its epochs have {meta.epoch_length} batches, but an '
            f'epoch of this run has {steps} batches, so the step to continue '
            'from is lost. Resume with the batch_size, number of processes '
            'and scans that it was trained with, or start a new run from its '
            'weights by load_from.'
        )


def check_scans(
    trained: TrainingScans, series: Collection[str], where: str
) -> None:
    """Refuse scans that a checkpoint was not trained on.

    Raises:
        CheckpointError: There are some; their samples would replace those that
            remain of the epoch.
    """
    new = sorted(set(series) - set(trained.series))
    if new:
        raise CheckpointError(
            f'{where}: was trained without {len(new)} scans of this run, such '
            f'as {new[0]}, so the rest of its epoch is lost. Resume with the '
            'scans of before, or start a new run from its weights by '
            'load_from.'
        )


def training_state(
    model: torch.nn.Module,
    optim_wrapper: OptimWrapper,
    schedulers: Sequence[Any],
    runtime: Mapping[str, Any],
) -> dict[str, Any]:
    """The contents of a checkpoint besides its ``meta``, as plain values.

    Args:
        model: Without its wrapper.
        optim_wrapper: With the optimiser's state.
        schedulers: Learning rate schedulers.
        runtime: mmengine's runtime info, of which ``KEPT_INFO`` is stored.
    """
    return {
        'state_dict': {
            name: value.detach().cpu().clone()
            for name, value in model.state_dict().items()
        },
        'optimizer': plain(optim_wrapper.state_dict()),
        'param_schedulers': [plain(s.state_dict()) for s in schedulers],
        'runtime': plain({k: v for k, v in runtime.items() if k in KEPT_INFO}),
    }


def restore_training(
    checkpoint: Mapping[str, Any],
    optim_wrapper: OptimWrapper,
    schedulers: Sequence[Any],
    where: str,
) -> None:
    """Restore optimiser and schedulers from a checkpoint.

    Raises:
        CheckpointError: Another number of schedulers, or a state that does
            not fit.
    """
    try:
        optim_wrapper.load_state_dict(checkpoint['optimizer'])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f'{where}: its state of the optimiser cannot be used '
            f'({type(error).__name__}: {error}); the file is damaged. Start a '
            'new run from its weights by load_from.'
        ) from error
    stored = checkpoint['param_schedulers']
    if len(stored) != len(schedulers):
        raise CheckpointError(
            f'{where}: {len(stored)} schedulers stored, the config has '
            f'{len(schedulers)}; resume with the same config.'
        )
    for scheduler, state in zip(schedulers, stored):
        scheduler.load_state_dict(state)


@HOOKS.register_module()
class IterSeedHook(Hook):
    """Seed all global generators from (seed, iteration, rank)."""

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Sequence | None = None
    ) -> None:
        state = seed_sequence(
            runner.seed or 0, SeedStream.MODEL, runner.iter, runner.rank
        ).generate_state(1)
        random.seed(int(state[0]))
        np.random.seed(int(state[0]))  # noqa: NPY002  (for users' code)
        torch.manual_seed(int(state[0]))
