"""Inference of many scans on a Ray cluster, with one network per worker."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lungdet.apis.backends import check_backend
from lungdet.apis.detector_options import DetectorOptions
from lungdet.apis.infer_scans import ScanRun
from lungdet.apis.inference_record import (
    InferenceReport,
    ScanOutcome,
    WorkerCounts,
)
from lungdet.apis.scan_input import ScanInput
from lungdet.apis.scan_names import where
from lungdet.apis.scan_steps import USUAL, InferOptions, ScanSteps
from lungdet.errors import ConfigError
from lungdet.io.atomic import remove_leftovers, scratch_folder
from lungdet.io.files import safe_name
from lungdet.io.ray_cluster import (
    Cluster,
    Needs,
    RayOptions,
    connected,
    shared_files,
)
from lungdet.io.ray_workers import Lost, RayWorkers

MEMORY = 3 * 10**9  # bytes per worker; a long scan takes 2.5 GB
CPUS = 2  # per worker without a GPU, unless --threads is given
DEVICES = ('auto', 'cpu', 'cuda')
GPUS = 0.5  # per worker: one can compute while the other reads a scan
LOST = (
    'its worker was killed {tries} times; it may have run out of memory, or '
    'the scan crashes a library that reads it. Run it alone, without --ray.'
)


def needs_of(device: str, cluster: Cluster, threads: int | None) -> Needs:
    """Resources that a worker needs.

    Args:
        device: ``'auto'``, ``'cpu'`` or ``'cuda'``.
        cluster: The cluster, with or without GPUs.
        threads: Requested number of threads; None for the default.

    Raises:
        ConfigError: ``device`` is ``'cuda'``, but the cluster has no GPU.
    """
    gpus = GPUS if device != 'cpu' and cluster.most('GPU') else 0.0
    if device.startswith('cuda') and not gpus:
        raise ConfigError(
            f'device: {device!r}, but the Ray cluster has no GPU; choose auto '
            'or cpu.'
        )
    usual = 1 if gpus else min(CPUS, int(cluster.most('CPU')))
    return Needs(threads or max(usual, 1), MEMORY, gpus)


def start_steps(
    detector: DetectorOptions,
    out: Path,
    options: InferOptions,
    settings: Mapping[str, Any],
) -> tuple[Callable[[ScanInput], ScanOutcome], tuple[str, str]]:
    """Load the detector in a worker.

    Returns:
        The function that processes one scan, and (device, precision).

    Raises:
        ConfigError: The weights on the worker's machine are not those of
            ``settings``.
    """
    inferencer = detector.build()
    steps = ScanSteps(inferencer, out, options)
    if steps.settings() != settings:
        raise ConfigError(
            f'{detector.model or "the weights of lungdet"}: differ on '
            f'{platform.node()}, a machine of the Ray cluster; put the '
            'weights on a shared file system, or install the same version of '
            'lungdet on all machines.'
        )
    about = inferencer.device, inferencer.precision
    return partial(do_steps, steps), about


def do_steps(steps: ScanSteps, scan: ScanInput) -> ScanOutcome:
    """Run all steps for one scan.

    Raises:
        OSError: The disk is full.
    """
    with scratch_folder(steps.out) as scratch:
        work = steps.detect(steps.read(scan, scratch))
        outcome = steps.finish(work)
    if outcome.error is None:
        return outcome
    # the main process may not be able to import the class of the error
    text = ''.join(traceback.format_exception(outcome.error))
    return replace(outcome, error=RuntimeError(f'in a worker\n{text}'))


class RayScanRun(ScanRun):
    """A run whose scans are processed by the workers of a Ray cluster.

    Results, records and skipped scans are as in ``ScanRun``; outcomes come in
    the order in which scans finish. If a worker is killed, its scan goes to
    another worker; after three killed workers the scan fails.

    Args:
        detector: How to build the detector. Each worker builds it, and so does
            the main program, to compare settings with those of earlier
            results.
        scans: As returned by ``find_scans``.
        out: Folder of the results. All machines of the cluster must see it,
            the scans and the weights at the same paths.
        options: How scans are read and written.
        ray: Which cluster to use, and how much of it.

    Raises:
        ConfigError: A specific GPU is named, the device does not exist, or
            the backend does not support it.
    """

    def __init__(
        self,
        detector: DetectorOptions,
        scans: Sequence[ScanInput],
        out: str | Path,
        options: InferOptions = USUAL,
        *,
        ray: RayOptions,
    ) -> None:
        if detector.device not in DEVICES:
            raise ConfigError(
                f'device: {detector.device!r}; with --ray choose auto, cpu or '
                'cuda. Ray decides which GPU a worker gets.'
            )
        check_backend(detector.backend, detector.device)
        here = replace(detector, device='cpu', precision='fp32').build()
        here.wanted_precision = detector.precision
        super().__init__(here, scans, out, options)
        self.detector = detector
        self.ray = ray
        self.workers: RayWorkers[ScanInput, ScanOutcome] | None = None

    def work_on(self, scans: Sequence[ScanInput]) -> None:
        """Process the scans on the cluster, and report each outcome.

        Raises:
            ConfigError: No cluster can be used, or one of its machines does
                not see a path.
            OSError: The disk is full.
        """
        if not scans:
            return
        detector = self.detector
        device = detector.device if detector.backend == 'torch' else 'cpu'
        # each machine has the detectors that come with lungdet, which are
        # given by name or not at all
        model = detector.model
        needed = {}
        if model is not None and model.exists():
            needed[model] = str(model)
        for scan in scans:
            if scan.path is not None:
                keep_phi = self.steps.options.keep_phi
                needed[scan.path] = where(scan, keep_phi=keep_phi)
            if scan.lung_mask is not None:
                needed[scan.lung_mask] = f'the lung mask of {scan.uid}'
        with (
            connected(self.ray) as cluster,
            shared_files(self.out, needed) as shared,
        ):
            needs = needs_of(device, cluster, self.ray.threads)
            start = partial(
                start_steps,
                replace(detector, device='cuda' if needs.gpus else 'cpu'),
                self.out,
                self.steps.options,
                self.steps.settings(),
            )
            self.workers = RayWorkers(
                cluster, start, needs, shared, self.ray.workers
            )
            with closing(self.workers.run(scans)) as results:
                for scan, outcome in results:
                    if isinstance(outcome, Lost):
                        outcome = self._lost(scan, outcome.tries)
                    self.tell(outcome)
        remove_leftovers(self.out)  # temporary files of killed workers

    def report(self) -> InferenceReport:
        """What the run has done so far."""
        workers = self.workers
        if workers is None:
            return super().report()
        about = sorted({*workers.about})
        return replace(
            super().report(),
            device=', '.join(sorted({device for device, _ in about})) or 'cpu',
            precision=', '.join(sorted({word for _, word in about}))
            or self.inferencer.precision,
            workers=WorkerCounts(
                len(workers.about), workers.lost, workers.retried
            ),
        )

    def _lost(self, scan: ScanInput, tries: int) -> ScanOutcome:
        return ScanOutcome(
            series_uid=scan.uid,
            folder=safe_name(scan.uid),
            state='failed',
            reason=f'{scan.uid}: {LOST.format(tries=tries)}',
            path=scan.location if self.steps.options.keep_phi else None,
        )
