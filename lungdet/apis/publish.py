"""A trained checkpoint as a release, with thresholds from held-out scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lungdet
from lungdet.engine.checkpoint import (
    CheckpointMeta,
    read_checkpoint,
    resolve_checkpoint,
)
from lungdet.engine.release import SUFFIX, write_release
from lungdet.engine.run_manifest import RunManifest
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import ConfigError
from lungdet.evaluation import (
    EvaluationReport,
    Submission,
    evaluate_submission,
)
from lungdet.io.files import check_regular
from lungdet.io.luna16 import read_marks
from lungdet.io.reference_set import official_reference
from lungdet.phantom.write import UID_ROOT
from lungdet.report.evaluation_files import read_detections
from lungdet.structures import ReferenceSet

SETTINGS = ('test_cfg', 'pipeline', 'candidates')  # of a test's manifest
FP_RATES = (0.25, 1.0, 4.0)  # per scan, for which a release states the scores
# of weights that were trained on LUNA16's scans, LIDC-IDRI's nodules, phantoms
LICENCES = {
    'weights': 'Apache-2.0',
    'LIDC-IDRI': 'CC BY 3.0',
    'LUNA16': 'CC BY 4.0',
}
ATTRIBUTION = (
    'Contains data from the LIDC-IDRI collection of The Cancer Imaging '
    'Archive (Armato III et al., Data From LIDC-IDRI, 2015, '
    'doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0; Armato III et al., Medical '
    'Physics 38(2), 2011; Clark et al., Journal of Digital Imaging 26(6), '
    '2013) and from the LUNA16 challenge (Setio et al., Medical Image '
    'Analysis 42, 2017, CC BY 4.0), modified: the weights were trained on it.'
)
# how the names of these scans and of their patients start
COVERED = ('1.3.6.1.4.1.14519.5.2.1.6279.6001.', 'LIDC-IDRI-', UID_ROOT)


def publish_model(
    checkpoint: str | Path,
    runs: Sequence[str | Path],
    path: str | Path,
    *,
    commands: Sequence[str] = (),
    licences: Mapping[str, str] | None = None,
    attribution: str | None = None,
) -> EvaluationReport:
    """Write a checkpoint as a release.

    Its weights are the checkpoint's averaged ones, if it has them; its
    ``test_cfg`` is that of the runs, as the thresholds are.

    Args:
        checkpoint: File, or work folder.
        runs: Folders of tests on LUNA16's scans, each by a network of the
            same recipe that was not trained on the tested patients. Their
            marks are scored together, and give the thresholds.
        path: Path of the safetensors file, which names the release.
        commands: Commands that made the checkpoint.
        licences: Licences of the weights and of each collection that they were
            trained on; None for ``LICENCES``.
        attribution: The attribution that the collections require; None for
            ``ATTRIBUTION``.

    Returns:
        The report of all runs together.

    Raises:
        CheckpointError: As ``read_checkpoint``.
        ConfigError: As ``pool_runs``, ``common_test_cfg``, ``thresholds_of``;
            an ensemble; or weights of other scans without their terms.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ConfigError(f'{path}: a release is a {SUFFIX} file; name it so.')
    file = resolve_checkpoint(checkpoint)
    content = read_checkpoint(file)
    meta = CheckpointMeta.of(content, file)
    _check_single(meta, file)
    if licences is None or attribution is None:
        _check_covered(meta, file)
    report = pool_runs(runs)
    model = {**meta.model, 'test_cfg': common_test_cfg(runs)}
    card = {
        'name': path.stem,
        'version': lungdet.__version__,
        'checkpoint': replace(meta, model=model).to_dict(),
        'thresholds': thresholds_of(report),
        'held_out': _held_out(report),
        'licences': dict(licences or LICENCES),
        'attribution': attribution or ATTRIBUTION,
        'commands': list(commands),
    }
    # of averaged weights, state_dict holds the averages
    write_release(path, content['state_dict'], card)
    return report


def read_commands(path: Path) -> list[str]:
    """The commands that made a checkpoint, from a file with one per line.

    Raises:
        ConfigError: It is not text.
        OSError: It cannot be read.
    """
    check_regular(path, error=ConfigError)
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f'{path}: not UTF-8 text ({error.reason}); give a file with the '
            'commands, one per line.'
        ) from error


def _check_single(meta: CheckpointMeta, file: Path) -> None:
    if meta.model['type'] == 'EnsembleDetector':
        raise ConfigError(
            f'{file}: an ensemble, and a release holds one network; publish '
            'one of its checkpoints.'
        )


def _check_covered(meta: CheckpointMeta, file: Path) -> None:
    """Refuse to state LUNA16's licences for weights of other scans."""
    trained = [meta.scans]
    if meta.pretraining is not None:
        trained.append(TrainingScans.from_dict(meta.pretraining))
    names = {n for scans in trained for n in (*scans.series, *scans.patients)}
    others = sorted(name for name in names if not name.startswith(COVERED))
    if others:
        raise ConfigError(
            f'{file}: was trained on {others[0]}, which is of neither '
            'LUNA16, LIDC-IDRI nor a phantom; give --licences and '
            '--attribution of its data.'
        )


def pool_runs(runs: Sequence[str | Path]) -> EvaluationReport:
    """Score the marks of several test runs together.

    Args:
        runs: Folders with ``submission.csv`` and ``detections.json``.

    Raises:
        ConfigError: A folder without results, a scan in two runs, or a scan
            that is not LUNA16's.
    """
    official = official_reference()
    uids: list[str] = []
    marks: dict[str, Any] = {}
    for run in map(Path, runs):
        files = (run / 'submission.csv', run / 'detections.json')
        if not all(file.is_file() for file in files):
            raise ConfigError(
                f'{run}: holds no results of tools/test.py (submission.csv '
                'and detections.json); give the folder of its --out.'
            )
        # scans/*.json may be of earlier tests, of other scans
        tested = sorted(one.series_uid for one in read_detections(run))
        if twice := {*uids} & {*tested}:
            raise ConfigError(
                f'{run}: tests {min(twice)}, as an earlier run does; give '
                'each tested scan once.'
            )
        if unknown := {*tested} - {*official.seriesuids}:
            raise ConfigError(
                f'{run}: {min(unknown)} is not a scan of LUNA16, whose tables '
                'the marks are scored by.'
            )
        uids += tested
        marks |= read_marks(run / 'submission.csv')
    reference = ReferenceSet(
        official.name,
        {uid: official.annotations.get(uid, []) for uid in uids},
        {uid: official.excluded.get(uid, []) for uid in uids},
        tuple(uids),
    )
    return evaluate_submission(Submission('held-out', marks), reference)


def common_test_cfg(runs: Sequence[str | Path]) -> dict[str, Any]:
    """The ``test_cfg`` of several test runs, which must be tested alike.

    Args:
        runs: Folders with ``manifest.json``, at least one.

    Raises:
        ConfigError: A folder whose manifest is missing, invalid, or does not
            say how it was tested; scores of given candidates; or other
            settings than an earlier run's.
    """
    ways: list[dict[str, Any]] = []
    for run in map(Path, runs):
        manifest = RunManifest.read(run)
        identity = manifest.identity if manifest is not None else {}
        settings = {name: identity.get(name) for name in SETTINGS}
        if not isinstance(settings['test_cfg'], dict):
            raise ConfigError(
                f'{run}: no manifest.json there says with which test_cfg its '
                'scans were tested; test them again with this version.'
            )
        if settings['candidates'] is not None:
            raise ConfigError(
                f'{run}: holds scores of given candidates, not of what the '
                'network finds; test without --candidates.'
            )
        ways.append(settings)
        if others := [n for n in SETTINGS if settings[n] != ways[0][n]]:
            raise ConfigError(
                f'{run}: was tested with another {", ".join(others)} than '
                f'{runs[0]}, and thresholds are of one; test them alike.'
            )
    return ways[0]['test_cfg']


def thresholds_of(report: EvaluationReport) -> dict[str, float]:
    """Scores at the ``FP_RATES``, by the rate as text.

    Raises:
        ConfigError: The marks do not reach one of them.
    """
    reached = report.result.curve.whole_fp_per_scan.max()
    if reached < max(FP_RATES):
        raise ConfigError(
            f'the test runs make at most {reached:g} false positives per scan '
            f'together, so the score at {max(FP_RATES):g} is not known; test '
            'with a lower test_cfg.rpn.score_thr.'
        )
    scores = {rate: report.result.threshold_at(rate) for rate in FP_RATES}
    return {
        f'{rate:g}': float(score)
        for rate, score in scores.items()
        if score is not None
    }


def _held_out(report: EvaluationReport) -> dict[str, Any]:
    """The scans that the thresholds rest on."""
    result = report.result
    return {
        'series': list(report.reference.seriesuids),
        'nodules': sum(result.nodules_by_scan),
        'sensitivities': {
            f'{rate:g}': float(value)
            for rate, value in zip(result.rates, result.sensitivities or [])
        },
    }
