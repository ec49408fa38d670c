from __future__ import annotations

from pathlib import Path

import pytest

from lungdet.apis import load_config
from lungdet.apis.folds import Fold, folds_of_config, make_folds
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from lungdet.io.reference_set import official_subsets
from lungdet.structures import CaseRecord

GRID = Geometry.from_parts(
    (2, 3, 4), spacing_zyx=(1, 1, 1), origin_xyz=(0, 0, 0)
)


# a config without validation, whole
NO_VALIDATION = dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator'))


def record(uid: str, subset: int | None, patient: str | None) -> CaseRecord:
    return CaseRecord(
        uid, subset, GRID, GRID, 1.0, [], [], 'given', patient_id=patient
    )


RECORDS = {
    uid: record(uid, subset, patient)
    for uid, subset, patient in (
        ('1.1', 0, 'p'),
        ('1.2', 0, 'p'),
        ('1.3', 2, 'q'),
        ('1.4', 10, None),
        ('1.5', 10, None),
    )
}


def members(folds: list[Fold]) -> dict[str, tuple[str, ...]]:
    return {fold.name: fold.test_series for fold in folds}


def test_subsets_are_folds_in_their_order() -> None:
    folds = make_folds('0,2,10', RECORDS, validate=True)

    assert members(folds) == {
        '0': ('1.1', '1.2'),
        '2': ('1.3',),
        '10': ('1.4', '1.5'),
    }
    # the next fold chooses the checkpoint, the last one takes the first
    assert [f.val_series for f in folds] == [
        ('1.3',),
        ('1.4', '1.5'),
        ('1.1', '1.2'),
    ]
    (one,) = make_folds('2', RECORDS, validate=True)
    assert one == folds[1]
    assert make_folds('2', RECORDS, validate=False)[0].val_series == ()
    with pytest.raises(ConfigError, match='no prepared scan is of subset 1'):
        make_folds('0-2', RECORDS, validate=False)


def test_one_scan_a_fold_but_a_patient_stays_whole() -> None:
    folds = make_folds('series', RECORDS, validate=False)

    assert members(folds) == {
        '1.1': ('1.1', '1.2'),
        '1.3': ('1.3',),
        '1.4': ('1.4',),
        '1.5': ('1.5',),
    }


def test_a_table_of_folds(tmp_path: Path) -> None:
    table = tmp_path / 'folds.csv'
    table.write_text('fold,seriesuid\nb,1.3\na,1.1\na,1.2\nb,1.5\n')

    folds = make_folds(str(table), RECORDS, validate=False)

    assert members(folds) == {'a': ('1.1', '1.2'), 'b': ('1.3', '1.5')}
    for text, message in (
        ('a,1.1\nb,1.2\n', 'patient p has scans in fold a and in fold b'),
        ('a,1.1\nb,9.9\n', "'9.9' is not among the 5"),
        ('a,1.3\nb,1.3\n', r"in the folds \['a', 'b'\]"),
        ('../a,1.3\nb,1.4\n', 'named by letters'),
        ('a,1.3\na,1.4\n', '1 folds among 5 prepared scans, at least 2'),
    ):
        table.write_text('fold,seriesuid\n' + text)
        with pytest.raises(ConfigError, match=message):
            make_folds(str(table), RECORDS, validate=False)
    with pytest.raises(ConfigError, match='neither subsets'):
        make_folds('nothing.csv', RECORDS, validate=False)


def test_split_of_the_config_is_one_fold(tiny_config: Path) -> None:
    config = load_config(tiny_config)

    (fold,) = folds_of_config(config, 'config')

    assert fold == Fold('config', ('1.3', '1.4'))
    of_subsets = folds_of_config(load_config(config, NO_VALIDATION), '0,9')
    assert members(of_subsets) == {
        '0': ('1.0', '1.1', '1.2'),
        '9': ('1.3', '1.4'),
    }


def test_scans_of_luna16_that_are_not_prepared_are_listed() -> None:
    subset_9 = [uid for uid, s in official_subsets().items() if s == 9]
    subset_0 = [uid for uid, s in official_subsets().items() if s == 0]
    uids = [*subset_9[:80], *subset_0[:1], 'own']
    records = {
        uid: record(uid, subset, None)
        for uid, subset in zip(uids, [*[9] * 80, 0, 9])
    }

    zero, nine = make_folds('0,9', records, validate=False)

    assert (zero.num_listed, nine.num_listed) == (89, 88 + 1)
    by_series = make_folds('series', records, validate=False)
    assert [fold.num_listed for fold in by_series] == [1] * 82


@pytest.mark.parametrize('spec', ['0-99999999999', '\u00b2', '9' * 30])
def test_ranges_have_few_digits(spec: str) -> None:
    with pytest.raises(ConfigError, match='neither subsets'):
        make_folds(spec, RECORDS, validate=False)
