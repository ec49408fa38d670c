from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungdet.prepare import find_lungs
from lungdet.prepare.case import prepare_case
from lungdet.prepare.references import ReferenceNodule, References
from lungdet.structures import Annotation
from tests.prepare.scans import SPACING, chest, volume_of


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_margin_holds_nodules_on_the_pleura_and_closing_alone_does_not() -> (
    None
):
    hu = chest()
    z, y, x = np.indices(hu.shape)
    nodule = (z - 35) ** 2 + (y - 44) ** 2 + (x - 18) ** 2 < 3.0**2
    hu[nodule] = 30  # 18 mm wide, the pleura runs through its middle
    volume = volume_of(hu)

    field = find_lungs(volume)

    assert field.source == 'computed'
    assert not field.mask[35, 44, 18]
    away = ndimage.distance_transform_edt(~field.mask, SPACING)
    assert away[35, 44, 18] <= 9.0
    center = volume.geometry.to_world(np.array([[35, 44, 18]]))[0]
    record, _ = prepare_case(
        volume,
        field,
        References((ReferenceNodule(Annotation(tuple(center), 18.0)),)),
    )
    box = np.array(record.nodules[0].box)
    assert (box[:3] >= 8).all()
    assert (box[3:] <= np.array(record.geometry.shape) - 8).all()


def variants() -> dict[str, np.ndarray]:
    table, emphysema, tight = chest(), chest(), chest()
    table[:, 83:86, 20:90] = 200
    emphysema[emphysema == -850] = -950
    padded = chest()
    padded[:, :6], padded[:, -3:] = -3024, -2000
    return {
        'supine': chest(),
        'table': table,
        'emphysema': emphysema,
        'padding': padded,
        'lungs cut by the range': chest()[15:60],
        'tight field of view': tight[:, 12:78, 10:100],
    }


@pytest.mark.parametrize('name', variants())
def test_lungs_are_found_in(name: str) -> None:
    hu = variants()[name]

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed' and not field.caveats
    lungs = (hu > -1000) & (hu < -800)
    assert agreement(field.mask, lungs) > 0.95
    assert (field.mask & lungs).sum() == lungs.sum()


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_lungs_turn_with_the_scan_exactly(axis: int) -> None:
    straight = find_lungs(volume_of(chest()))

    turned = find_lungs(volume_of(np.flip(chest(), axis)))

    np.testing.assert_array_equal(np.flip(turned.mask, axis), straight.mask)


def test_white_lung_is_kept_where_the_other_side_says_so() -> None:
    hu = chest()
    white = hu == -850
    white[..., :57] = False
    hu[white] = 40

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed'
    (caveat,) = field.caveats
    assert 'without air are kept as lung' in caveat
    assert (field.mask & white).sum() > 0.8 * white.sum()


def test_solid_base_is_told_and_not_kept() -> None:
    hu = chest()
    solid = hu == -850
    solid[32:], solid[..., :57] = False, False
    hu[solid] = 40

    field = find_lungs(volume_of(hu))

    (caveat,) = field.caveats
    assert 'solid lung, fluid or a high diaphragm' in caveat
    assert agreement(field.mask, hu == -850) > 0.95


def test_one_lung_in_a_narrow_side_is_a_doubt() -> None:
    hu = chest()
    left = hu[..., 57:]
    left[left == -850] = 300  # bone where the other side has lung

    field = find_lungs(volume_of(hu))

    assert field.source == 'failed'
    assert 'one lung only' in field.caveats[0]


def test_bowel_gas_is_no_lung() -> None:
    hu = np.concatenate([chest()[:1].repeat(14, axis=0), chest()])
    hu[2:16, 30:60, 20:45] = -985  # 0.28 l, two loops of the colon

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed'
    assert not field.mask[:16].any()
    assert agreement(field.mask, hu == -850) > 0.95


def test_trachea_stays_out_of_the_lungs() -> None:
    hu = chest()
    z, y, x = np.indices(hu.shape)
    trachea = (y - 38) ** 2 + (x - 55) ** 2 < 3.5**2
    trachea[:36] = False
    hu[trachea] = -980
    bronchi = (np.abs(y - 38) <= 2) & (np.abs(z - 37) <= 2)
    hu[bronchi & (np.abs(x - 55) < 20) & (hu > -800)] = -980

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed'
    assert not field.mask[66:].any()
    assert (field.mask & trachea).mean() < 0.2 * trachea.mean()


def test_two_slices_without_a_wall_keep_their_lung() -> None:
    hu = chest()
    hu[34:36, :30, 28:36] = -1000

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed'
    assert agreement(field.mask, chest() == -850) > 0.95


def test_a_wall_that_stays_open_is_a_doubt() -> None:
    hu = chest()
    hu[hu == -1000] = -985  # as noise makes it
    hu[25:40, :30, 25:40] = -985

    field = find_lungs(volume_of(hu))

    assert field.source == 'failed'
    assert "the body's wall is open" in field.caveats[0]
    assert (field.mask & (chest() == -850)).sum() > 0.9 * 89846


@pytest.mark.parametrize('view', [(21, 68, 18, 93), (26, 62, 20, 90)])
def test_lungs_cut_by_the_field_of_view_are_kept_and_told(
    view: tuple[int, int, int, int],
) -> None:
    top, bottom, left, right = view
    hu = np.ascontiguousarray(chest()[:, top:bottom, left:right])

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed'
    assert 'reach the sides of the field of view' in field.caveats[0]
    assert agreement(field.mask, hu == -850) > 0.95


def test_lungs_cut_by_a_round_field_of_view_are_kept_and_told() -> None:
    hu = chest()
    _, y, x = np.indices(hu.shape)
    hu[(y - 44) ** 2 + (x - 55) ** 2 > 34.0**2] = -3024

    field = find_lungs(volume_of(hu))

    assert field.source == 'computed'
    assert 'reach the sides of the field of view' in field.caveats[0]
    assert agreement(field.mask, hu == -850) > 0.95


def failures() -> dict[str, tuple[np.ndarray, str]]:
    abdomen = chest()
    abdomen[abdomen == -850] = 40
    gas = abdomen.copy()
    gas[30:38, 25:60, 45:65] = -900
    flat = chest()[30:52]
    solid = chest()
    solid[solid == -850] = -450
    airy = np.full((60, 60, 70), -1000, dtype=np.int16)
    airy[:, 8:52, 8:62] = 40
    airy[:, 12:48, 12:58] = -850
    aside = abdomen.copy()
    aside[8:62, 32:58, 16:38] = -850
    return {
        'abdomen': (abdomen, '0.0 l of lung'),
        'bowel gas': (gas, 'l of lung'),
        'few slices': (flat, 'mm high'),
        'solid lungs': (solid, 'mean of -450 HU'),
        'hollow body': (airy, 'of the body is air'),
        'air at one side': (aside, 'of the body along x'),
        'air only': (np.full((40, 50, 60), -1000, np.int16), 'no body'),
        'thinner than a block': (chest()[:0], 'thinner'),
    }


@pytest.mark.parametrize('name', failures())
def test_what_are_no_lungs_keeps_the_whole_body(name: str) -> None:
    hu, reason = failures()[name]
    volume = volume_of(hu)

    field = find_lungs(volume)

    assert field.source == 'failed'
    assert reason in field.caveats[0]
    if field.mask.size > 1:
        assert 'the whole body is kept' in field.caveats[0]
        assert not field.mask[:, 0, 0].any()  # air around it is not
        assert (field.mask >= (hu > -900)).all()
        return
    assert 'the whole scan is kept' in field.caveats[0]
    corners = np.array([[-0.5] * 3, [0.5] * 3])
    wanted = np.array([[-0.5] * 3, np.array(hu.shape) - 0.5])
    if hu.size:
        np.testing.assert_allclose(
            volume.geometry.to_index(field.geometry.to_world(corners)),
            wanted,
            atol=1e-9,
        )
