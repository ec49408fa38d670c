from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lungdet.apis import load_config
from lungdet.apis.fold_run import (
    cases_digest,
    check_untrained,
    config_digest,
    fold_config,
    root_of_test,
    run_fold,
)
from lungdet.apis.folds import Fold
from lungdet.engine.run_manifest import MANIFEST_FILE, RunManifest
from lungdet.errors import ConfigError
from lungdet.io.case_store import CaseStore
from tests.apis.quick_run import QUICK


def test_every_data_set_of_the_config_gets_the_fold(tiny_config: Path) -> None:
    fold = Fold('x', ('1.0',), ('1.1',))
    given = load_config(tiny_config)

    config = fold_config(given, fold, root_of_test(given))

    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert config[name].dataset.test_series == ['1.0']
        assert config[name].dataset.val_series == ['1.1']

    assert given.test_dataloader.dataset.test_series is None


def test_data_sets_of_other_folders_keep_their_split(
    tiny_config: Path,
) -> None:
    given = load_config(tiny_config)
    given.train_dataloader.dataset.data_root = 'other'

    config = fold_config(
        given, Fold('x', ('1.0',), ('1.1',)), root_of_test(given)
    )

    assert config.train_dataloader == given.train_dataloader
    assert config.test_dataloader.dataset.test_series == ['1.0']


def test_path_of_weights_counts_unless_their_making_is_known(
    tiny_config: Path,
) -> None:
    def digest(weights: str, pretraining: str | None) -> str:
        cfg = load_config(
            tiny_config,
            {'+pretrained': {'weights': weights, 'config': 'g.py'}},
        )
        return config_digest(cfg, False, pretraining)

    assert digest('a', 'one') == digest('b', 'one')
    assert digest('a', None) != digest('b', None)


@pytest.mark.slow
def test_trained_series_and_stale_weights_are_refused(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = load_config(tiny_config, QUICK)
    fold = Fold('x', ('1.0', '1.1', '1.2'))
    run_fold(config, fold, tmp_path / 'x')

    # the same training, said to have seen a series that is tested
    (tmp_path / 'x' / 'test' / MANIFEST_FILE).unlink()
    manifest = RunManifest.read(tmp_path / 'x' / 'train')
    start = replace(manifest.start, train_series=('1.3', '1.1'))
    replace(manifest, start=start).write(tmp_path / 'x' / 'train')
    with pytest.raises(ConfigError, match='series 1.1 was trained on'):
        run_fold(config, fold, tmp_path / 'x')


def test_cases_that_were_prepared_again_are_other_cases(
    tiny_config: Path, tiny_store: Path, tmp_path: Path
) -> None:
    def digest() -> str:
        config = load_config(tiny_config, {'data_root': str(store)})
        return cases_digest(config)

    store = tmp_path / 'store'
    store.mkdir()
    index = store / 'index.json'
    index.write_bytes((tiny_store / 'index.json').read_bytes())
    before = digest()
    assert digest() == before

    index.write_bytes(index.read_bytes() + b' ')
    assert digest() != before


def test_a_patient_on_both_sides_is_refused(tiny_store: Path) -> None:
    records = {
        uid: replace(r, patient_id='same')
        for uid, r in CaseStore(tiny_store).records.items()
    }

    with pytest.raises(ConfigError, match='patient same was trained on'):
        check_untrained(Fold('x', ('1.0',)), ['1.3'], records)
