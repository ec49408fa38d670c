"""Weights, and the tests they may stand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine.leakage import (
    Seen,
    check_leakage,
    seen_in_pretraining,
    seen_in_training,
)
from lungdet.engine.weights import load_plain
from lungdet.errors import CheckpointError
from lungdet.io.case_store import CaseStore, rebuild_index, write_case

CLEAN = {'test_series': ['c'], 'test_patients': ['R']}
TWICE = {'test_series': ['c', 'b', 'a']}
OTHER_SCAN = {'test_series': ['c'], 'test_patients': ['Q']}
STORED = {'train_series': ['a', 'b'], 'train_patients': ['P', 'Q']}


@pytest.mark.parametrize(
    'seen',
    [
        seen_in_training(STORED, allowed=False),
        seen_in_pretraining(
            {'method': 'GenesisPretrainer', 'folds': 'train', **STORED}
        ),
    ],
    ids=['trained', 'pretrained'],
)
def test_leakage_counts_by_hand(seen: Seen) -> None:
    assert check_leakage(seen, CLEAN) is None
    assert check_leakage(seen, {}) is None
    with pytest.raises(CheckpointError, match='2 of the 3 test.*first a;'):
        check_leakage(seen, TWICE)
    with pytest.raises(CheckpointError, match='1 of their known patients'):
        check_leakage(seen, OTHER_SCAN)


def test_only_a_detector_is_said_to_have_seen_labels() -> None:
    crops = {**STORED, 'folds': 'train'}

    with pytest.raises(CheckpointError, match='pre-trained without labels: 2'):
        check_leakage(seen_in_training(crops, allowed=False), TWICE)
    crops['folds'] = 'all'
    assert check_leakage(seen_in_training(crops, allowed=False), TWICE) == (
        'pre-trained without labels, 2 of the 3 test scans among them'
    )


def test_leaks_that_were_asked_for_are_told() -> None:
    trained = seen_in_training(STORED, allowed=True)
    crops = {'method': 'GenesisPretrainer', 'folds': 'all', **STORED}

    assert check_leakage(trained, TWICE) == (
        'trained with labels, 2 of the 3 test scans among them'
    )
    assert '0 of the 1 test scans' in check_leakage(
        seen_in_pretraining(crops), CLEAN
    )


def test_scans_that_were_trained_on_are_no_test(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """As with luna16_mini, where the test scan is chosen twice by hand."""
    options = {'test_series': ['1.0', '1.3'], 'val_series': []}

    with pytest.raises(CheckpointError, match='1 of the 2 test scans.*1.0'):
        run_test(tiny_config, trained, out=tmp_path / 'a', cfg_options=options)
    run_test(
        tiny_config,
        trained,
        out=tmp_path / 'b',
        cfg_options={**options, 'allow_seen_test': True},
    )

    caveat = 'trained with labels, 1 of the 2 test scans among them'
    assert caveat in (tmp_path / 'b' / 'table.txt').read_text()
    froc = json.loads((tmp_path / 'b' / 'froc.json').read_text())
    assert caveat in froc['caveats'][-1]['text']


def test_scans_of_an_earlier_training_are_carried_on(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 3,
        'train_dataloader.dataset.test_subsets': [],
        'train_dataloader.dataset.test_series': ['1.1', '1.2', '1.4'],
        'load_from': str(trained / 'epoch_1.pth'),
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'default_hooks.checkpoint.save_best': None,
    }

    with pytest.raises(CheckpointError, match='2 of the 3 test scans'):
        train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)
    options['allow_seen_test'] = True
    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    meta = load_plain(tmp_path / 'w')['meta']
    assert meta['train_series'] == ['1.0', '1.1', '1.2', '1.3']


def test_gates_that_start_as_the_identity_join_a_trained_network(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """The same marks as without them, and a training that goes on from it."""
    gate = {'type': 'SE3D'}
    place = {'cfg': gate, 'position': 'after_conv2'}
    faint = {
        'model.test_cfg.rpn.score_thr': 0.0,
        'model.test_cfg.rpn.max_num': 9,
    }
    options = {'+model.backbone.plugins': [place], **faint}
    with pytest.raises(CheckpointError, match=r'trained with plugins \[\]'):
        run_test(tiny_config, trained, out=tmp_path / 'a', cfg_options=options)

    gate['identity_start'] = True
    run_test(tiny_config, trained, out=tmp_path / 'b', cfg_options=options)
    run_test(tiny_config, trained, out=tmp_path / 'c', cfg_options=faint)
    more = train(
        tiny_config,
        work_dir=tmp_path / 'w',
        cfg_options={
            **options,
            'train_cfg.max_epochs': 1,
            'load_from': str(trained / 'epoch_1.pth'),
            'val_dataloader': None,
            'val_cfg': None,
            'val_evaluator': None,
            'default_hooks.checkpoint.save_best': None,
        },
    )

    marks = [(tmp_path / n / 'submission.csv').read_text() for n in ('b', 'c')]
    assert marks[0] == marks[1] and marks[0].count('\n') > 10
    before = load_plain(trained)['state_dict']
    after = more.model.state_dict()
    gates = [name for name in after if name not in before]
    assert gates and before.keys() < after.keys()
    # the last layer of each began at zero
    assert all(bool((after[name] != 0).any()) for name in gates)


def test_other_window_or_spacing_is_refused(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        CheckpointError,
        match=r'window \[-1200.0, 600.0\], but .* \[-1000.0, 400.0\]',
    ):
        run_test(
            tiny_config,
            trained,
            out=tmp_path / 'a',
            cfg_options={
                'model.data_preprocessor.window': (-1000, 400),
            },
        )
    store = CaseStore(tmp_path / 'cases')
    for uid, record in store.records.items():
        arrays = {n: store.read(uid, n) for n in ('image', 'lungs', 'mask')}
        write_case(
            tmp_path / 'coarse', replace(record, spacing_mm=2.0), arrays
        )
    rebuild_index(tmp_path / 'coarse')

    with pytest.raises(CheckpointError, match='spacing_mm 1.0, but here it'):
        run_test(
            tiny_config,
            trained,
            out=tmp_path / 'b',
            cfg_options={'data_root': str(tmp_path / 'coarse')},
        )
