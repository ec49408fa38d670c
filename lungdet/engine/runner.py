"""mmengine's Runner with fixes for current torch and CPUs.

Written for mmengine 0.10.7; each override names the symptom that it fixes, and
``tests/engine`` has the test that fails without it.
"""

from __future__ import annotations

import itertools
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

import lungdet
from lungdet.engine.checkpoint import (
    CheckpointMeta,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from lungdet.engine.checkpoint_checks import STATE_TYPES, check_complete
from lungdet.engine.dataloader import check_batches, complete_loader
from lungdet.engine.distributed import DistributedRunner
from lungdet.engine.hooks import unwrapped, with_checkpoint_hook
from lungdet.engine.input_contract import InputContract, backbone_plugins
from lungdet.engine.loader_workers import pack_batches
from lungdet.engine.missing_weights import missing_weights
from lungdet.engine.network_contract import network_caveats
from lungdet.engine.partial_load import (
    fill_caveats,
    fill_module,
    tensors_outside_plugins,
)
from lungdet.engine.plain_values import plain
from lungdet.engine.protocols import (
    FollowsEpochs,
    FollowsTraining,
    StatesCaveats,
)
from lungdet.engine.provenance import (
    leakage_caveats,
    start_backbone,
    training_scans,
)
from lungdet.engine.resume import ExactEpochLoop, training_state
from lungdet.engine.schedule import (
    check_averaging,
    resume_anew,
    resume_exactly,
    training_schedule,
)
from lungdet.engine.screen import quiet, say, shown
from lungdet.engine.training_scans import TrainingScans
from lungdet.registry import (
    RUNNERS,
    build_model,
    patch_mmengine_build,
)

# hooks of every training; a config's custom_hooks cannot drop them
BUILT_IN_HOOKS = (
    'AverageBuffersHook',
    'IterSeedHook',
    'HeadScheduleHook',
    'StopOnNaNHook',
    'RunManifestHook',
    'ProgressHook',
)


@RUNNERS.register_module()
class LungRunner(DistributedRunner):
    """Runner for CPUs, current torch and exact resume."""

    _number = itertools.count()
    _has_loaded: bool
    _resume: bool
    optim_wrapper: Any
    # provenance of the backbone that the model started from
    pretraining: dict[str, Any] | None = None
    # meta of the checkpoint that the model's weights are from
    loaded: CheckpointMeta | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        patch_mmengine_build()
        # mmengine's singletons are keyed by name and second: two runners of
        # one second would share logger and message hub
        name = kwargs.get('experiment_name') or 'lungdet'
        kwargs['experiment_name'] = f'{name}_{next(self._number)}'
        super().__init__(*args, **kwargs)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """A logger without mmengine's line for every parameter.

        The screen shows what a user waits for; the file has everything.
        """
        logger = super().build_logger(*args, **kwargs)
        if not self.cfg.get('verbose'):
            quiet(logger)
        logger.addFilter(
            lambda record: (
                not record.getMessage().startswith('paramwise_options -- ')
            )
        )
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        """Log relevant versions; mmengine's version needs distutils and
        gcc."""
        self.logger.info(
            f'lungdet {lungdet.__version__}, torch {torch.__version__}, '
            f'numpy {np.__version__}, Python {platform.python_version()}, '
            f'{torch.get_num_threads()} threads, '
            f'GPUs: {torch.cuda.device_count()}, seed {self._seed}, '
            f'world size {self._world_size}'
        )

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Complete the config: mmengine does not pass the seed to data sets,
        and passes options for workers that torch refuses.

        Raises:
            ConfigError: Fewer samples than a batch, and ``drop_last``.
        """
        if not isinstance(dataloader, dict):
            return dataloader
        cfg = complete_loader(dataloader, seed)
        loader = Runner.build_dataloader(cfg, seed, diff_rank_seed)
        check_batches(loader)
        pack_batches(loader)
        return loader

    def register_hooks(
        self,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
    ) -> None:
        """Register the built-in hooks before a config's.

        A config that sets ``custom_hooks`` replaces the list of its base, and
        exact resume must not depend on that.

        Raises:
            ConfigError: Checkpoints would be saved by another hook than
                ``LungCheckpointHook``.
        """
        built_in = [{'type': name} for name in BUILT_IN_HOOKS]
        hooks = [*built_in, *(custom_hooks or ())]
        default_hooks = with_checkpoint_hook(default_hooks, hooks)
        super().register_hooks(default_hooks, hooks)

    def build_model(self, model: torch.nn.Module | dict) -> torch.nn.Module:
        """Build in lungdet's scope, whatever the config's default is."""
        return build_model(model) if isinstance(model, dict) else model

    @property
    def bare_model(self) -> Any:
        """The model without its wrapper for several processes."""
        return unwrapped(self.model)

    @property
    def input_contract(self) -> InputContract:
        """The input contract of the model and its data."""
        return InputContract.of_model(
            self.bare_model,
            backbone_plugins(self.cfg.model),
            self._dataset_meta['spacing_mm'],
        )

    @property
    def training_scans(self) -> TrainingScans:
        """The scans that a checkpoint would record now."""
        return training_scans(
            self._dataset_meta, self._loaded_scans, self.pretraining
        )

    @property
    def _loaded_scans(self) -> TrainingScans | None:
        return None if self.loaded is None else self.loaded.scans

    @property
    def _built_loops(self) -> list[Any]:
        loops = (self._train_loop, self._val_loop, self._test_loop)
        return [loop for loop in loops if isinstance(loop, BaseLoop)]

    @property
    def _dataset_meta(self) -> dict[str, Any]:
        return self._built_loops[0].dataloader.dataset.metainfo

    def save_checkpoint(
        self,
        out_dir: str | Path,
        filename: str,
        *,
        epoch: int | None = None,
    ) -> None:
        """Write a checkpoint atomically, in plain types.

        mmengine writes in place, so a killed run leaves half a file, and
        stores objects that a weights-only reader refuses. Buffers of batch
        norms are averaged over ranks first, so every rank continues from the
        same ones.

        Args:
            out_dir: Folder.
            filename: Name in it.
            epoch: Epochs done, where one has just ended; None within one,
                after a step that the loop has not counted yet.
        """
        self.average_buffers()
        if not self.rank:
            checkpoint = {
                'meta': self._checkpoint_meta(epoch).to_dict(),
                **training_state(
                    self.bare_model,
                    self.optim_wrapper,
                    self.param_schedulers or [],
                    self.message_hub.runtime_info,
                ),
            }
            self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
            write_checkpoint(Path(out_dir) / filename, checkpoint)

    def _checkpoint_meta(self, epoch: int | None) -> CheckpointMeta:
        """Counters, and what inference and later training need."""
        loop = self.train_loop
        within = epoch is None
        done = loop.epoch if epoch is None else epoch
        imports = self.cfg.get('custom_imports', {}).get('imports', [])
        return CheckpointMeta(
            epoch=done,
            iter=loop.iter + within,
            epoch_in_progress=done + within,
            epoch_length=len(self.train_dataloader),
            seed=self.seed,
            schedule=training_schedule(self.cfg),
            val_owed=not within
            and isinstance(loop, ExactEpochLoop)
            and loop.val_owed,
            model=plain(self.cfg.model.to_dict()),
            imports=plain(imports),
            input_contract=self.input_contract,
            scans=self.training_scans,
            pretraining=self.pretraining,
        )

    def load_or_resume(self) -> None:
        """``--resume`` continues if there is a checkpoint, else starts, from
        ``load_from`` or from the config's ``pretrained`` backbone.

        Raises:
            CheckpointError: Weights that do not fit, or were trained on test
                scans.
            FileNotFoundError: Missing pre-trained weights; the message has the
                command that creates them.
        """
        if not self._has_loaded:
            self._load_weights()
        if self.loaded is not None:
            self.input_contract.check(
                self.loaded.input_contract,
                'the checkpoint',
                may_add=not self._resume,
            )
        caveats = leakage_caveats(
            self._dataset_meta,
            self._loaded_scans,
            self.pretraining,
            allowed=bool(self.cfg.get('allow_seen_test')),
        )
        for caveat in caveats:
            self.logger.warning(caveat)
        for loop in self._built_loops:
            if isinstance(loop, ValLoop | TestLoop):
                for metric in loop.evaluator.metrics:
                    if isinstance(metric, StatesCaveats):
                        metric.state_caveats(caveats)

    def _load_weights(self) -> None:
        path = self._load_from
        if self._resume and path is None:
            path = newest_checkpoint(Path(self.work_dir))
            if path is None:
                self.logger.info('nothing to resume; starting')
                self._resume = False
        if path is not None:
            load = self.resume if self._resume else self.load_checkpoint
            load(str(path))
        elif self.cfg.get('pretrained'):
            self._start_from_pretraining(self.cfg.pretrained)

    def _start_from_pretraining(self, pretrained: dict) -> None:
        path = pretrained['weights']
        if not Path(path).is_file():
            raise FileNotFoundError(missing_weights(pretrained, self.cfg))
        line, self.pretraining = start_backbone(
            self.bare_model.backbone,
            path,
            self.input_contract,
            pretrained.get('parts', 'all'),
        )
        say(line)
        for alarm in self.pretraining['alarms']:
            self.logger.warning(f'{path}: its training ended with: {alarm}')

    def load_checkpoint(
        self, filename: str, map_location: Any = 'cpu', **_: Any
    ) -> dict:
        """Read plain types only; refuse weights that do not fit.

        mmengine unpickles, which runs code from the file, and only logs what
        does not fit.

        Raises:
            CheckpointError: Not written by lungdet, too little fits, or the
                network would compute something else with them.
        """
        checkpoint = read_checkpoint(filename)
        meta = CheckpointMeta.of(checkpoint, filename)
        check_complete(checkpoint, STATE_TYPES, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model, state = self.bare_model, checkpoint['state_dict']
        starts_anew = self._trains and not self._resume
        line = fill_module(
            model,
            state,
            filename,
            # new gates that start as the identity may be added else
            min_tensors=1.0 if self._resume else 0.0,
            # a test must not use random weights; new heads may start so
            needed=() if starts_anew else tensors_outside_plugins(model),
        )
        self.logger.info(line)
        for caveat in (
            *fill_caveats(model, state, filename),
            *network_caveats(
                meta.model,
                self.cfg.model,
                filename,
                may_differ=self._trains
                and (starts_anew or self._has_new_schedule),
                layers_only=starts_anew,
            ),
        ):
            self.logger.warning(caveat)
        if isinstance(model, FollowsEpochs):
            model.set_epoch(meta.epoch_in_progress)
        if not self._trains and isinstance(model, FollowsTraining):
            # the config's may differ: options of a training are not repeated
            model.follow_training(meta.model.get('train_cfg') or {})
        self.loaded = meta
        self.pretraining = meta.pretraining
        self._has_loaded = True
        return checkpoint

    @property
    def _trains(self) -> bool:
        return isinstance(self._train_loop, BaseLoop)

    @property
    def _has_new_schedule(self) -> bool:
        return bool(self.cfg.get('resume_with_new_schedule'))

    def resume(self, filename: str, **_: Any) -> None:
        """Restore weights, optimiser, schedulers and counters.

        mmengine continues with the next epoch, and needs random states that a
        killed run has not stored.

        Raises:
            CheckpointError: Weights that do not fit or are averaged, epochs
                of another length, or another number of schedulers.
        """
        checkpoint = self.load_checkpoint(filename)
        meta, loop = self.loaded, self.train_loop
        assert meta is not None
        check_averaging(checkpoint, self.hooks, filename)
        if self._has_new_schedule:
            say(resume_anew(self, checkpoint, filename))
        else:
            resume_exactly(self, checkpoint, filename)
        loop.val_owed = meta.val_owed
        for key, value in checkpoint['runtime'].items():
            self.message_hub.update_info(key, value)
        say(
            f'resumed {shown(filename)}: epoch {meta.epoch}, iteration '
            f'{loop._iter}'
        )
