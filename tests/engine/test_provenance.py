"""What weights were made from, and the tests they may stand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.apis import test as run_test
from lungdet.apis import train
from lungdet.engine import export_backbone
from lungdet.engine.checkpoint import read_checkpoint, write_checkpoint
from lungdet.engine.provenance import (
    WeightSource,
    describe_weights,
    leakage_caveats,
    training_scans,
)
from lungdet.engine.training_scans import TrainingScans
from lungdet.errors import CheckpointError
from lungdet.io.case_store import CaseStore, rebuild_index, write_case
from tests.engine.runs import NO_VALIDATION, make_meta

CLEAN = {'test_series': ['c'], 'test_patients': ['R']}

TWICE = {'test_series': ['c', 'b', 'a']}


OTHER_SCAN = {'test_series': ['c'], 'test_patients': ['Q']}


SCANS = TrainingScans(('a', 'b'), ('P', 'Q'))


CROPS = TrainingScans(('a', 'b'), ('P', 'Q'), 'train')


EVERYWHERE = TrainingScans(('a', 'b'), ('P', 'Q'), 'all')


def provenance(scans: TrainingScans) -> dict:
    return {'method': 'GenesisPretrainer', **scans.to_dict()}


@pytest.mark.parametrize(
    'source',
    [
        WeightSource.training(SCANS, allowed=False),
        WeightSource.pretraining(provenance(CROPS)),
    ],
    ids=['trained', 'pretrained'],
)
def test_leakage_counts_by_hand(source: WeightSource) -> None:
    assert source.check_test(CLEAN) is None
    assert source.check_test({}) is None
    with pytest.raises(CheckpointError, match='2 of the 3 test.*first a;'):
        source.check_test(TWICE)
    with pytest.raises(CheckpointError, match='1 of their known patients'):
        source.check_test(OTHER_SCAN)


def test_only_a_detector_was_trained_with_labels() -> None:
    source = WeightSource.training(CROPS, allowed=False)
    with pytest.raises(CheckpointError, match='pre-trained without labels: 2'):
        source.check_test(TWICE)

    source = WeightSource.training(EVERYWHERE, allowed=False)
    assert source.check_test(TWICE) == (
        'pre-trained without labels, 2 of the 3 test scans among them'
    )


def test_leaks_that_were_asked_for_are_told() -> None:
    source = WeightSource.training(SCANS, allowed=True)
    assert source.check_test(TWICE) == (
        'trained with labels, 2 of the 3 test scans among them'
    )

    source = WeightSource.pretraining(provenance(EVERYWHERE))
    assert '0 of the 1 test scans' in source.check_test(CLEAN)


def test_caveats_are_of_all_that_the_weights_went_through() -> None:
    loaded, before = SCANS, provenance(EVERYWHERE)

    assert leakage_caveats(TWICE, None, None, allowed=False) == []
    trained, pretrained = leakage_caveats(TWICE, loaded, before, allowed=True)
    assert trained.startswith('trained with labels, 2 of the 3')
    assert pretrained.startswith('pre-trained without labels on all folds')
    # a pre-training on all folds has no test to keep apart
    on_all = {**TWICE, 'folds': 'all'}
    assert leakage_caveats(on_all, loaded, None, allowed=False) == []
    with pytest.raises(CheckpointError, match='trained with labels: 2'):
        leakage_caveats(TWICE, loaded, before, allowed=False)


def test_scans_of_earlier_weights_are_kept() -> None:
    data = {'series_uids': ['d', 'c'], 'patients': ['S']}
    detector = training_scans(data, SCANS, provenance(EVERYWHERE))

    assert detector == TrainingScans(('a', 'b', 'c', 'd'), ('P', 'Q', 'S'))
    # what a backbone saw without labels is told apart from a detector's scans
    assert training_scans(data, None, provenance(CROPS)).series == ('c', 'd')
    crops = {**data, 'folds': 'train'}
    assert training_scans(crops, None, provenance(EVERYWHERE)) == (
        TrainingScans(('a', 'b', 'c', 'd'), ('P', 'Q', 'S'), 'all')
    )
    assert training_scans(crops, CROPS, None).folds == 'train'
    assert TrainingScans.from_dict(EVERYWHERE.to_dict()) == EVERYWHERE


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
        **NO_VALIDATION,
    }

    with pytest.raises(CheckpointError, match='2 of the 3 test scans'):
        train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)
    options['allow_seen_test'] = True
    train(tiny_config, work_dir=tmp_path / 'w', cfg_options=options)

    meta = read_checkpoint(tmp_path / 'w')['meta']
    assert meta['train_series'] == ['1.0', '1.1', '1.2', '1.3']


def test_gates_that_start_as_the_identity_join_a_trained_network(
    trained: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """The same marks as without them, and a training that goes on from it."""
    gate = {'type': 'SE3D'}
    plugin = {'cfg': gate, 'position': 'after_conv2'}
    faint = {
        'model.test_cfg.rpn.score_thr': 0.0,
        'model.test_cfg.rpn.max_num': 9,
    }
    options = {'+model.backbone.plugins': [plugin], **faint}
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
            **NO_VALIDATION,
        },
    )

    marks = [(tmp_path / n / 'submission.csv').read_text() for n in ('b', 'c')]
    assert marks[0] == marks[1] and marks[0].count('\n') > 10
    before = read_checkpoint(trained)['state_dict']
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


def test_both_kinds_of_weights_say_what_they_were_trained_on(
    tmp_path: Path,
) -> None:
    meta = make_meta(scans=SCANS).to_dict()
    write_checkpoint(tmp_path / 'a.pth', {'meta': meta, 'state_dict': {}})
    backbone = tmp_path / 'backbone.safetensors'
    written = {**provenance(CROPS), 'input_contract': {}, 'alarms': []}
    export_backbone(backbone, {}, written)

    trained = describe_weights(tmp_path / 'a.pth')
    pretrained = describe_weights(backbone)

    assert trained['model'] == 'NoduleNet'
    assert TrainingScans.from_dict(trained) == SCANS
    assert pretrained == written
    assert json.loads(json.dumps([trained, pretrained])) == [
        trained,
        pretrained,
    ]
