"""mmengine's Runner in several processes, also without a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import (
    all_gather_object,
    all_reduce_params,
    broadcast_object_list,
    is_distributed,
    is_main_process,
)
from mmengine.hooks import EMAHook
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from lungdet.engine.loader_workers import start_method
from lungdet.errors import ConfigError


class DistributedRunner(Runner):
    """Starts processes and wraps the model, on CPUs and GPUs."""

    def setup_env(self, env_cfg: dict) -> None:
        """Start gloo if there is no GPU; mmengine would call CUDA."""
        if self.distributed and not is_distributed():
            if not torch.cuda.is_available():
                torch.distributed.init_process_group(
                    'gloo', timeout=timedelta(minutes=30)
                )
        # mmengine would fork everywhere but on Windows
        processes = {'mp_start_method': start_method()}
        processes.update(env_cfg.get('mp_cfg') or {})
        super().setup_env({**env_cfg, 'mp_cfg': processes})

    def wrap_model(
        self, model_wrapper_cfg: dict | None, model: torch.nn.Module
    ) -> torch.nn.Module:
        """Wrap in DDP that accepts heads which start later, also on CPUs.

        mmengine names a device id, which CPU modules refuse. Looking for
        unused parameters also keeps the order of sums the same after a
        resume.
        """
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        gpu = torch.cuda.is_available()
        if sync_bn := self.cfg.get('sync_bn'):
            model = synchronised(model, sync_bn, gpu=gpu)
        model = model.cuda() if gpu else model
        return MMDistributedDataParallel(
            module=model,
            device_ids=[int(os.environ['LOCAL_RANK'])] if gpu else None,
            broadcast_buffers=False,
            find_unused_parameters=True,
        )

    def average_buffers(self) -> None:
        """Give every rank the mean of all ranks' running statistics.

        This includes those of averaged weights: each rank's come from its own
        batches, and only rank 0's would be saved.
        """
        if not is_distributed():
            return
        modules = [self.model] + [
            hook.ema_model for hook in self.hooks if isinstance(hook, EMAHook)
        ]
        all_reduce_params(
            [
                buffer
                for module in modules
                for buffer in module.buffers()
                if buffer.is_floating_point()
            ],
            op='mean',
        )


def synchronised(model: nn.Module, kind: str, *, gpu: bool) -> nn.Module:
    """A model whose batch norms use the batches of all ranks.

    Args:
        model: The model, which is changed.
        kind: The config's ``sync_bn``; only ``'torch'`` is known.
        gpu: Whether the ranks have GPUs.

    Raises:
        ConfigError: Another kind, or no GPU, without which torch does not
            synchronise.
    """
    if kind != 'torch':
        raise ConfigError(f"sync_bn: {kind!r}; choose 'torch' or None.")
    if not gpu:
        raise ConfigError(
            "sync_bn: 'torch' needs a GPU for every process, and there is "
            'none; leave sync_bn out, and give each process a batch of at '
            'least 2.'
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def from_all_ranks(items: Sequence[Any]) -> list[Any]:
    """The items of every rank, in the order of the ranks, on every rank."""
    return [item for of_rank in all_gather_object(items) for item in of_rank]


def from_main_process(function: Callable[[], Any]) -> Any:
    """Call a function on rank 0, and return its result on every rank.

    Raises:
        Exception: The one raised on rank 0, on every rank, so that none waits
            for it.
    """
    outcome: list[Any] = [None]
    if is_main_process():
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[0] = error
    broadcast_object_list(outcome)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
