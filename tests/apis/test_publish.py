"""From a training and tests on held-out scans to a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lungdet import apis
from lungdet.apis.publish import (
    common_test_cfg,
    pool_runs,
    publish_model,
    read_commands,
    thresholds_of,
)
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.engine.detector import load_detector
from lungdet.engine.ensemble import join_checkpoints
from lungdet.engine.provenance import describe_weights
from lungdet.engine.run_manifest import MANIFEST_FILE, RunManifest
from lungdet.errors import CheckpointError, ConfigError
from lungdet.geometry import Geometry
from lungdet.io.reference_set import official_reference
from lungdet.io.results import result_to_dict
from lungdet.structures import SeriesResult
from tests.apis.quick_run import QUICK
from tests.schemas import assert_valid

HEADER = 'seriesuid,coordX,coordY,coordZ,probability\n'
GRID = Geometry.from_parts(
    (9, 9, 9), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
)
FAR = 5000.0  # mm from every nodule
TESTED: dict[str, Any] = {
    'checkpoint': 'a',
    'test_cfg': {'flips': 2},
    'pipeline': 'b',
    'candidates': None,
}
TERMS: dict[str, Any] = {
    'licences': {'weights': 'CC0-1.0'},
    'attribution': 'Of nobody.',
}


def write_test_run(
    folder: Path, uid: str, false_scores: list[float], **identity: Any
) -> Path:
    """Marks on every nodule of a LUNA16 scan, and as many false ones."""
    nodules = official_reference().annotations.get(uid, [])
    rows = [(*nodule.center_mm, 0.95) for nodule in nodules]
    rows += [(FAR, FAR, 10.0 * k, s) for k, s in enumerate(false_scores)]
    (folder / 'scans').mkdir(parents=True)
    (folder / 'scans' / 'of_an_earlier_test.json').write_text('{}')
    result = result_to_dict(SeriesResult(uid, [], GRID))
    (folder / 'detections.json').write_text(json.dumps([result]))
    lines = (f'{uid},{",".join(map(str, row))}\n' for row in rows)
    (folder / 'submission.csv').write_text(HEADER + ''.join(lines))
    RunManifest({**TESTED, **identity}).write(folder)
    return folder


def rename_scan(run: Path, uid: str) -> None:
    path = run / 'detections.json'
    (result,) = json.loads(path.read_text())
    path.write_text(json.dumps([{**result, 'series_uid': uid}]))


def scans_with_nodules(number: int) -> list[str]:
    reference = official_reference()
    uids = (u for u in reference.seriesuids if reference.annotations.get(u))
    return [next(uids) for _ in range(number)]


def write_two_runs(folder: Path) -> list[Path]:
    one, two = scans_with_nodules(2)
    scores = [0.9 - 0.1 * k for k in range(9)]
    return [
        write_test_run(folder / 'a', one, scores),
        write_test_run(folder / 'b', two, [s - 0.05 for s in scores]),
    ]


def test_thresholds_are_those_of_all_runs_together(tmp_path: Path) -> None:
    """Two scans: 1 FP per scan are the two highest false scores."""
    report = pool_runs(write_two_runs(tmp_path))

    assert report.num_listed == 2
    assert report.result.sensitivities[0] == 1.0
    scores = thresholds_of(report)
    assert scores['1'] == pytest.approx(0.85)
    assert scores['4'] == pytest.approx(0.55)


@pytest.mark.parametrize(
    ('break_it', 'message'),
    [
        (lambda run: (run / 'submission.csv').unlink(), 'holds no results'),
        (lambda run: rename_scan(run, '9'), '9 is not a scan of LUNA16'),
    ],
)
def test_runs_that_cannot_be_scored_are_refused(
    break_it, message: str, tmp_path: Path
) -> None:
    (uid,) = scans_with_nodules(1)
    run = write_test_run(tmp_path / 'a', uid, [0.5])
    break_it(run)

    with pytest.raises(ConfigError, match=message):
        pool_runs([run])


def test_a_scan_counts_once(tmp_path: Path) -> None:
    (uid,) = scans_with_nodules(1)
    runs = [write_test_run(tmp_path / name, uid, [0.5]) for name in 'ab']

    with pytest.raises(ConfigError, match='as an earlier run does'):
        pool_runs(runs)


def test_too_few_marks_give_no_threshold(tmp_path: Path) -> None:
    (uid,) = scans_with_nodules(1)
    report = pool_runs([write_test_run(tmp_path / 'a', uid, [0.5])])

    with pytest.raises(ConfigError, match='make at most 1 false'):
        thresholds_of(report)


def test_published_checkpoint_is_tested_like_the_checkpoint(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'tiny.safetensors'

    publish_model(
        trained,
        write_two_runs(tmp_path),
        path,
        commands=['python train'],
        **TERMS,
    )

    card = json.loads(path.with_suffix('.json').read_text())
    assert_valid('release', card)
    assert (card['name'], card['commands']) == ('tiny', ['python train'])
    assert {name: card[name] for name in TERMS} == TERMS
    checkpoint = read_checkpoint(trained)
    assert (
        describe_weights(path)['train_series']
        == (checkpoint['meta']['train_series'])
    )
    state = load_detector(path).model.state_dict()
    for name, value in checkpoint['state_dict'].items():
        assert torch.equal(state[name], value), name
    results = []
    for name, weights in (('pth', trained), ('release', path)):
        out = tmp_path / name
        apis.test(tiny_config, weights, out=out, cfg_options=QUICK)
        results.append((out / 'submission.csv').read_text())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ('identity', 'message'),
    [
        ({'test_cfg': {'flips': 8}}, 'tested with another test_cfg than'),
        ({'pipeline': 'c'}, 'tested with another pipeline than'),
        ({'candidates': 'd'}, 'scores of given candidates'),
        ({'test_cfg': None}, 'with which test_cfg its scans were tested'),
    ],
)
def test_thresholds_are_of_one_way_to_test(
    identity: dict[str, Any], message: str, tmp_path: Path
) -> None:
    one, two = scans_with_nodules(2)
    runs = [
        write_test_run(tmp_path / 'a', one, [0.5]),
        write_test_run(tmp_path / 'b', two, [0.5], **identity),
    ]

    with pytest.raises(ConfigError, match=message):
        common_test_cfg(runs)


def test_runs_without_a_manifest_are_refused(tmp_path: Path) -> None:
    (run, _) = write_two_runs(tmp_path)
    (run / MANIFEST_FILE).unlink()

    with pytest.raises(ConfigError, match='no manifest.json there says'):
        common_test_cfg([run])


def test_release_is_tested_as_its_thresholds_were(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    options = {**QUICK, '+model.test_cfg.flips': 2}
    apis.test(tiny_config, trained, out=out, cfg_options=options)
    test_cfg = common_test_cfg([out])
    one, two = scans_with_nodules(2)
    scores = [0.9 - 0.1 * k for k in range(9)]
    runs = [
        write_test_run(tmp_path / uid, uid, scores, test_cfg=test_cfg)
        for uid in (one, two)
    ]
    path = tmp_path / 'tiny.safetensors'

    publish_model(trained, runs, path, **TERMS)

    before = load_detector(trained).model.test_cfg
    after = load_detector(path).model.test_cfg
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {'flips', 'score_thr', 'score_thrs'}
    assert (before['flips'], after['flips']) == (1, 2)


def test_release_is_not_tested_on_its_training_scans(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'tiny.safetensors'
    publish_model(trained, write_two_runs(tmp_path), path, **TERMS)

    with pytest.raises(CheckpointError, match='would be too optimistic'):
        apis.test(
            tiny_config,
            path,
            out=tmp_path / 'out',
            cfg_options={
                **QUICK,
                'test_dataloader.dataset.test_subsets': (0, 9),
            },
        )


def test_other_names_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='is a .safetensors file'):
        publish_model(trained, [], tmp_path / 'tiny.pth')


def test_licences_are_not_stated_for_other_scans(
    trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'tiny.safetensors'
    runs = write_two_runs(tmp_path)

    with pytest.raises(ConfigError, match='was trained on 1.0, which is of'):
        publish_model(trained, runs, path)
    content = read_checkpoint(trained)
    content['meta']['train_series'] = [
        '1.2.826.0.1.3680043.10.9999.77.0',
        official_reference().seriesuids[0],
    ]
    content['meta']['train_patients'] = ['LIDC-IDRI-0004']
    write_checkpoint(tmp_path / 'known.pth', content)
    publish_model(tmp_path / 'known.pth', runs, path)

    card = json.loads(path.with_suffix('.json').read_text())
    assert card['licences']['LUNA16'] == 'CC BY 4.0'


def test_an_ensemble_is_not_published(trained: Path, tmp_path: Path) -> None:
    joined = tmp_path / 'ensemble.pth'
    write_checkpoint(joined, join_checkpoints([trained, trained]))

    with pytest.raises(ConfigError, match='publish one of its checkpoints'):
        publish_model(joined, [], tmp_path / 'tiny.safetensors', **TERMS)


def test_commands_are_text(tmp_path: Path) -> None:
    (tmp_path / 'binary').write_bytes(b'\xff\xfe')

    with pytest.raises(ConfigError, match='binary: not UTF-8 text'):
        read_commands(tmp_path / 'binary')
