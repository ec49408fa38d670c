"""Hooks of pre-training: initialisation, alarms, pictures, export."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook

from lungdet.engine.backbone_file import export_backbone
from lungdet.engine.hooks import unwrapped
from lungdet.engine.provenance import backbone_provenance
from lungdet.engine.screen import say, shown
from lungdet.engine.training_scans import TrainingScans
from lungdet.registry import HOOKS, MODELS

# keys of the last alarms in mmengine's message hub: of training steps, of
# validation and of the features; separate, so that none replaces another
ALARMS = ('train_alarms', 'val_alarms', 'rank_alarms')
FRESH_RANK = 'fresh_rank'  # key of the untrained network's rank there
CONSTANT_ADVICE = (
    'Lower the learning rate, warm up longer, or train with '
    'model.loss.type=MSELoss.'
)
RANK_ADVICE = (
    'A detector may learn slower from these weights than from random ones. '
    'Lower the learning rate, train on more scans, or use only the encoder in '
    'the detector (pretrained.parts=encoder).'
)


def spread_indices(num: int, total: int) -> list[int]:
    """At most ``num`` evenly spaced indices below ``total``."""
    return np.linspace(0, total - 1, min(num, total)).astype(int).tolist()


@HOOKS.register_module()
class DataMeanHook(Hook):
    """Make the mean of the crops the initial output of a new model.

    Args:
        num: Number of crops to average.
    """

    def __init__(self, num: int = 64) -> None:
        self.num = num

    def before_train(self, runner: Any) -> None:
        if runner.iter or runner._has_loaded:
            return
        dataset = runner.train_dataloader.dataset
        means = [
            float(dataset[k]['targets'].mean())
            for k in spread_indices(self.num, len(dataset))
        ]
        unwrapped(runner.model).set_data_mean(float(np.mean(means)))
        runner.logger.info(
            f'mean normalized intensity of {len(means)} crops: '
            f'{np.mean(means):.3f}'
        )


@HOOKS.register_module()
class StartWithMSEHook(Hook):
    """Train with the squared error at first, then with the model's loss.

    Most voxels of a lung crop have nearly the same intensity, so the absolute
    error of the best constant is low, and an untrained network collapses to
    it. The squared error gives more weight to large differences.

    Args:
        iters: Number of iterations with the squared error.
    """

    def __init__(self, iters: int = 500) -> None:
        self.iters = iters

    def before_train(self, runner: Any) -> None:
        self.model_loss = unwrapped(runner.model).criterion
        self.squared_error = MODELS.build({'type': 'MSELoss'})
        # if a validation was interrupted, it is repeated first, with the loss
        # of the last step
        self._choose(runner, max(runner.iter - 1, 0))

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        self._choose(runner, runner.iter)

    def _choose(self, runner: Any, step: int) -> None:
        loss = self.squared_error if step < self.iters else self.model_loss
        unwrapped(runner.model).criterion = loss


def collapse_alarms(
    metrics: dict[str, float], min_spread: float = 0.1
) -> list[str]:
    """Signs that a model does not restore its input.

    Args:
        metrics: Some of ``spread``, ``vs_constant`` and ``vs_copy``.
        min_spread: Smallest allowed ratio of the standard deviation of the
            output to that of the target.

    Returns:
        A sentence for each alarm.
    """
    alarms = []
    spread = metrics.get('spread')
    if spread is not None and not spread >= min_spread:
        alarms.append(
            f'the output is nearly one constant: its spread is {spread:.3f} '
            f"of the target's (alarm below {min_spread})"
        )
    for key, other in (
        ('vs_constant', 'the best constant'),
        ('vs_copy', 'copying the input'),
    ):
        ratio = metrics.get(key)
        if ratio is not None and not ratio < 1:
            alarms.append(
                f'the loss is {ratio:.2f} of that of {other} (alarm from 1)'
            )
    return alarms


def rank_alarms(
    rank: float, fresh_rank: float, min_ratio: float = 0.5
) -> list[str]:
    """Signs that the last features have become redundant.

    Args:
        rank: Their effective rank, see ``feature_rank``.
        fresh_rank: That of an untrained network, on the same crops.
        min_ratio: Smallest allowed ratio of the two.

    Returns:
        A sentence, if there is an alarm.
    """
    if rank >= min_ratio * fresh_rank:
        return []
    return [
        f'the last features vary in {rank:.1f} directions (rank), those of '
        f'an untrained network in {fresh_rank:.1f} on the same crops (alarm '
        f'below {min_ratio:.0%} of it)'
    ]


@HOOKS.register_module()
class CollapseAlarmHook(Hook):
    """Warn if the output is constant, or no better than a copy of the input,
    or if the features are redundant.

    After each epoch, the spread of the last training step and the rank of the
    features of a few fixed crops are checked; after each validation, its
    metrics. The last alarms are stored in the checkpoint and in the exported
    file. The rank is compared with that of an untrained network, which is
    measured once before the first step and stored in the checkpoint.

    Args:
        min_spread: See ``collapse_alarms``.
        begin: Iterations before the first check, or half of the training if
            that is shorter.
        min_rank: ``min_ratio`` of ``rank_alarms``.
        num: Number of crops on which the rank is measured.
    """

    def __init__(
        self,
        min_spread: float = 0.1,
        *,
        begin: int = 200,
        min_rank: float = 0.5,
        num: int = 8,
    ) -> None:
        self.min_spread = min_spread
        self.begin = begin
        self.min_rank = min_rank
        self.num = num
        self.spread: float | None = None
        self.crops: dict[str, Any] | None = None

    def before_train(self, runner: Any) -> None:
        dataset = runner.train_dataloader.dataset
        self.crops = pseudo_collate(
            [dataset[k] for k in spread_indices(self.num, len(dataset))]
        )
        hub = runner.message_hub
        if FRESH_RANK not in hub.runtime_info:
            rank = self._rank(untrained(runner))
            if rank is not None:
                hub.update_info(FRESH_RANK, rank)
                runner.logger.info(f'rank of an untrained network: {rank:.1f}')

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        spread = (outputs or {}).get('spread')
        self.spread = None if spread is None else float(spread)

    def after_train_epoch(self, runner: Any) -> None:
        if self._too_early(runner):
            return
        if self.spread is not None:
            alarms = collapse_alarms({'spread': self.spread}, self.min_spread)
            self._raise(runner, 'train_alarms', alarms, CONSTANT_ADVICE)
        fresh = runner.message_hub.runtime_info.get(FRESH_RANK)
        if fresh is not None and self.crops is not None:
            rank = self._rank(copy.deepcopy(unwrapped(runner.model)))
            assert rank is not None
            alarms = rank_alarms(rank, fresh, self.min_rank)
            self._raise(runner, 'rank_alarms', alarms, RANK_ADVICE)

    def after_val_epoch(
        self, runner: Any, metrics: dict[str, float] | None = None
    ) -> None:
        if not self._too_early(runner):
            named = {k.split('/')[-1]: v for k, v in (metrics or {}).items()}
            alarms = collapse_alarms(named, self.min_spread)
            self._raise(runner, 'val_alarms', alarms, CONSTANT_ADVICE)

    def _too_early(self, runner: Any) -> bool:
        return runner.iter < min(self.begin, runner.max_iters // 2)

    def _raise(
        self, runner: Any, source: str, alarms: list[str], advice: str
    ) -> None:
        runner.message_hub.update_info(source, alarms)
        for alarm in alarms:
            runner.logger.warning(
                f'COLLAPSE ALARM: iteration {runner.iter}: {alarm}. {advice}'
            )

    def _rank(self, model: Any) -> float | None:
        """Rank of the features of the fixed crops; None if the model does not
        return it.

        Args:
            model: The model; the running statistics of its batch norms change.
        """
        model.train()
        with torch.no_grad():
            batch = model.data_preprocessor(self.crops, True)
            rank = model(**batch, mode='loss').get('rank')
        return None if rank is None else float(rank)


def untrained(runner: Any) -> Any:
    """The run's model with random weights; leaves the global random state
    unchanged."""
    with torch.random.fork_rng():
        torch.manual_seed(runner.seed or 0)
        model = MODELS.build(runner.cfg.model)
        model.init_weights()
    return model.to(next(unwrapped(runner.model).parameters()).device)


@HOOKS.register_module()
class RestorationPicturesHook(Hook):
    """Save pictures of a few crops: corrupted, restored and original.

    Args:
        interval: Epochs between pictures; there is also one after the last.
        num: Number of crops, from the validation data if there is any.
    """

    def __init__(self, interval: int = 10, num: int = 4) -> None:
        self.interval = interval
        self.num = num

    @master_only
    def after_train_epoch(self, runner: Any) -> None:
        done = runner.epoch + 1
        if done % self.interval and done != runner.max_epochs:
            return
        from lungdet.report.restoration import restoration_sheet

        has_val = runner.val_loop is not None
        loader = runner.val_dataloader if has_val else runner.train_dataloader
        pairs = [
            loader.dataset[k]
            for k in spread_indices(self.num, len(loader.dataset))
        ]
        model = unwrapped(runner.model)
        model.eval()
        with torch.no_grad():
            samples = model.val_step(pseudo_collate(pairs))
        model.train()
        volumes = [
            {
                name: sample.get(name).cpu().numpy()
                for name in ('corrupted', 'restored', 'target')
            }
            for sample in samples
        ]
        path = Path(runner.work_dir) / 'pictures' / f'epoch_{done:04}.png'
        path.parent.mkdir(exist_ok=True)
        restoration_sheet(volumes).savefig(path, dpi=110)
        say(f'restored crops: {shown(path)}')


@HOOKS.register_module()
class ExportBackboneHook(Hook):
    """Export the backbone at the end of training, to initialise detectors.

    Args:
        filename: Name of the file in the work folder.
    """

    def __init__(self, filename: str = 'backbone.safetensors') -> None:
        self.filename = filename

    @master_only
    def after_train(self, runner: Any) -> None:
        path = Path(runner.work_dir) / self.filename
        scans = runner.training_scans
        if runner.pretraining is not None:
            scans = scans.after(TrainingScans.from_dict(runner.pretraining))
        provenance = backbone_provenance(
            method=runner.cfg.model.type,
            config=str(runner.cfg.filename),
            contract=runner.input_contract,
            scans=scans,
            iterations=runner.iter,
            epochs=runner.epoch,
            seed=runner.seed,
            alarms=[
                alarm
                for name in ALARMS
                for alarm in runner.message_hub.runtime_info.get(name, [])
            ],
        )
        backbone = runner.bare_model.backbone
        export_backbone(path, backbone.state_dict(), provenance)
        say(
            f'pre-trained backbone: {shown(path)}; to train a detector from '
            f'it, set pretrained.weights={shown(path)}'
        )
