"""The manifest of a run's folder: written and read here only."""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from lungdet.engine.hooks import unwrapped
from lungdet.errors import ConfigError, SeriesError
from lungdet.io.atomic import write_text
from lungdet.io.json_file import (
    items,
    keyed,
    metric,
    number,
    read_object,
    shape_checked,
    text,
)
from lungdet.registry import HOOKS

MANIFEST_FILE = 'manifest.json'
SCHEMA = 'lungdet.run/1'


@dataclass(frozen=True)
class RunStart:
    """The start of a training.

    Attributes:
        weights: Digest of the weights, as initialised or loaded.
        train_series: Series of its training.
    """

    weights: str
    train_series: tuple[str, ...]


@dataclass(frozen=True)
class RunCost:
    """Cost of a training, over all attempts if it was resumed.

    Attributes:
        seconds: Processor time of all processes together.
        unit: ``'GPU'``, or ``'CPU'`` where there is no GPU.
    """

    seconds: float
    unit: str


@dataclass(frozen=True)
class RunManifest:
    """Content of a folder's ``manifest.json``.

    Attributes:
        identity: Name -> value that identifies the run: digests, a fold. Empty
            for a training that is not compared.
        start: Start of a training; None before its first iteration, and for a
            test.
        cost: Cost of a training, None until it ends.
        metrics: Metrics of a test, None until it ends.
    """

    identity: dict[str, Any] = field(default_factory=dict)
    start: RunStart | None = None
    cost: RunCost | None = None
    metrics: dict[str, float] | None = None

    @classmethod
    def read(cls, folder: str | Path) -> RunManifest | None:
        """The manifest of a folder, None without one.

        Raises:
            ConfigError: Its file cannot be read as a manifest.
        """
        path = Path(folder) / MANIFEST_FILE
        if not path.is_file():
            return None
        try:
            content = read_object(path, '')
            with shape_checked(str(path), ''):
                return cls._of(content)
        except SeriesError as error:
            reason = str(error).removeprefix(f'{path}: ').rstrip(' .;')
            raise ConfigError(
                f'{path}: not a {SCHEMA} ({reason}), so what the folder holds '
                'is not known. Choose another folder, or remove this one.'
            ) from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> RunManifest:
        if content['schema'] != SCHEMA:
            raise ValueError(f'schema {content["schema"]!r}')
        start, cost = content['start'], content['cost']
        metrics = content['metrics']
        if start is not None:
            series = tuple(map(text, items(start['train_series'])))
            start = RunStart(text(start['weights']), series)
        if cost is not None:
            cost = RunCost(number(cost['seconds']), text(cost['unit']))
        if metrics is not None:
            metrics = {k: float(metric(v)) for k, v in keyed(metrics).items()}
        return cls({**keyed(content['identity'])}, start, cost, metrics)

    def write(self, folder: str | Path) -> None:
        """Write it to a folder atomically."""
        content = {'schema': SCHEMA, **asdict(self)}
        path = Path(folder) / MANIFEST_FILE
        write_text(path, json.dumps(content, indent=1))

    def compare(self, identity: Mapping[str, Any]) -> list[str]:
        """Names of the differences from another identity, empty if equal."""
        names = [*identity, *(self.identity.keys() - identity.keys())]
        return [
            name
            for name in names
            if self.identity.get(name) != identity.get(name)
        ]


def claim_folder(
    folder: str | Path, identity: Mapping[str, Any]
) -> RunManifest:
    """Claim a folder for a run that starts or continues.

    Args:
        folder: Gets a manifest if it has none.
        identity: Identity of the run, JSON values.

    Returns:
        The folder's manifest.

    Raises:
        ConfigError: It belongs to another run; the message names what differs.
    """
    manifest = RunManifest.read(folder)
    if manifest is None:
        manifest = RunManifest(dict(identity))
        manifest.write(folder)
        return manifest
    if names := manifest.compare(identity):
        others = (
            f'{name} ({reprlib.repr(manifest.identity.get(name))})'
            for name in names
        )
        raise ConfigError(
            f'{folder}: holds a run with another {", ".join(others)}; choose '
            'another folder, or remove it.'
        )
    return manifest


def values_digest(value: Any) -> str:
    """SHA-256 of nested plain values; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256 of the names and values of parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@HOOKS.register_module()
class RunManifestHook(Hook):
    """Write a training's start and cost into the manifest of its folder.

    The cost is that of all processors, including data workers. The cost of
    workers is known only when they end, so a killed attempt counts without it.
    Each checkpoint stores the cost so far, and a resumed run adds to it.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.seconds_before = 0.0
        self.started_at: float | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.seconds_before = float(checkpoint.get('cost_seconds', 0.0))

    def before_train(self, runner: Any) -> None:
        """A resumed run keeps its start."""
        self.started_at = _seconds(runner.world_size)
        if runner.iter or runner.rank:
            return
        series = runner.train_dataloader.dataset.metainfo['series_uids']
        digest = weights_digest(unwrapped(runner.model))
        start = RunStart(digest, tuple(series))
        manifest = RunManifest.read(runner.work_dir) or RunManifest()
        replace(manifest, start=start, cost=None).write(runner.work_dir)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['cost_seconds'] = self._spent(runner)

    def after_run(self, runner: Any) -> None:
        """Write the cost last: a manifest with a cost is complete."""
        if runner.rank or self.started_at is None:
            return
        unit = 'GPU' if torch.cuda.is_available() else 'CPU'
        cost = RunCost(self._spent(runner), unit)
        manifest = RunManifest.read(runner.work_dir) or RunManifest()
        replace(manifest, cost=cost).write(runner.work_dir)

    def _spent(self, runner: Any) -> float:
        now = _seconds(runner.world_size)
        return self.seconds_before + now - (self.started_at or 0.0)


def _seconds(processes: int) -> float:
    """Time of all GPUs, or CPU time of this process and its workers."""
    if torch.cuda.is_available():
        return time.monotonic() * processes
    ended = os.times()  # of children always 0 on Windows
    seconds = time.process_time() + ended.children_user + ended.children_system
    return processes * seconds
