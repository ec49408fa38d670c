from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lungdet.errors import AnnotationError
from lungdet.geometry import Geometry, resample_nearest
from lungdet.io.image import load_volume, read_image, write_image
from lungdet.io.luna16 import read_annotations
from lungdet.phantom import Phantom, make_phantom
from lungdet.prepare import find_lungs, prepare_case
from lungdet.prepare.label_image import mask_of_label
from lungdet.prepare.references import (
    ReferenceNodule,
    References,
    TableReferences,
)
from lungdet.structures import Annotation
from tests.prepare.scans import block_scan


@pytest.fixture(scope='module')
def phantom() -> Phantom:
    return make_phantom([3, 1], size='small', series_uid='1.9', num_nodules=3)


def references_of(phantom: Phantom) -> References:
    regions = ndimage.find_objects(phantom.masks)
    return References(
        tuple(
            ReferenceNodule(
                annotation, mask=mask_of_label(phantom.masks, number, region)
            )
            for number, (annotation, region) in enumerate(
                zip(phantom.annotations, regions), start=1
            )
        )
    )


def test_case_keeps_positions_lungs_and_nodules(phantom: Phantom) -> None:
    record, arrays = prepare_case(
        phantom.volume,
        find_lungs(phantom.volume),
        references_of(phantom),
        excluded=phantom.excluded,
    )

    assert record.lung_mask == 'computed'
    assert record.excluded == phantom.excluded
    assert arrays['image'].min() >= -1024
    for nodule, annotation in zip(record.nodules, phantom.annotations):
        box = np.array(nodule.box)
        assert (box[:3] >= 8).all()
        assert (box[3:] <= np.array(record.geometry.shape) - 8).all()
        mask = arrays['mask'] == nodule.id
        diameter = (6 * mask.sum() / np.pi) ** (1 / 3)
        assert diameter == pytest.approx(
            annotation.diameter_mm, rel=0.2, abs=0.7
        )
        centre = record.geometry.to_world(
            np.argwhere(mask).mean(0, keepdims=True)
        )[0]
        assert np.linalg.norm(centre - annotation.center_mm) < 1.0
    source = phantom.volume
    for index in ((20, 100, 100), (30, 150, 220)):
        world = source.geometry.to_world(np.array([index]))
        at = record.geometry.to_index(world)[0]
        low = np.floor(at).astype(int)
        near = arrays['image'][tuple(slice(k, k + 2) for k in low)]
        if near.size == 8:
            around = source.array[
                index[0] - 1 : index[0] + 2,
                index[1] - 1 : index[1] + 2,
                index[2] - 1 : index[2] + 2,
            ]
            assert around.min() - 1 <= near.mean() <= around.max() + 1


def test_a_scan_is_left_as_it_was(phantom: Phantom) -> None:
    array, caveats = phantom.volume.array.copy(), [*phantom.volume.caveats]
    references = References((), ('of the table',), 'P7')

    record, _ = prepare_case(
        phantom.volume, find_lungs(phantom.volume), references
    )

    assert record.caveats == [*caveats, 'of the table']
    assert record.patient_id == 'P7'
    assert phantom.volume.caveats == caveats
    assert phantom.volume.patient_id is None
    np.testing.assert_array_equal(phantom.volume.array, array)


def test_the_header_names_the_patient_before_the_references() -> None:
    """The study of a reader XML only stands for a patient."""
    scan = replace(block_scan(), patient_id='P1')
    study = References((), (), 'P7')

    record, _ = prepare_case(scan, find_lungs(scan), study)

    assert record.patient_id == 'P1'


def test_lungs_hold_those_of_the_phantom(phantom: Phantom) -> None:
    lungs = find_lungs(phantom.volume)
    record, arrays = prepare_case(phantom.volume, lungs)
    truth = resample_nearest(
        np.isin(phantom.lungs, (3, 4)).astype(np.uint8),
        phantom.volume.geometry,
        record.geometry,
        fill=None,
    )
    lungs = arrays['lungs']
    assert (lungs & truth).sum() / truth.sum() > 0.95
    assert 2 * (lungs & truth).sum() / (lungs.sum() + truth.sum()) > 0.9


@pytest.mark.slow
def test_real_scans_without_a_given_mask(test_data: Path) -> None:
    """Computed lungs agree with the given ones and keep every nodule."""
    mini = test_data / 'luna16-mini'
    table = read_annotations(mini / 'annotations.csv')
    checked = 0
    (dicom,) = (mini / 'subset1-dicom').iterdir()
    for path in [*sorted(mini.glob('subset?/*.mhd')), dicom]:
        volume = load_volume(path)
        bare, arrays = prepare_case(volume, find_lungs(volume))
        assert bare.lung_mask == 'computed'
        name = f'{volume.series_uid}.mhd'
        image = read_image(mini / 'seg-lungs-LUNA16' / name)
        given = resample_nearest(
            np.isin(image.array, (3, 4)).astype(np.uint8),
            image.geometry,
            bare.geometry,
        )
        lungs = arrays['lungs']
        dice = 2 * (given & lungs).sum() / (given.sum() + lungs.sum())
        assert dice > 0.95
        # the region was chosen without knowing where the nodules are
        for nodule in table[volume.series_uid]:
            (box,) = bare.geometry.sphere_box(
                np.array([nodule.center_mm]), nodule.diameter_mm
            )
            margin = [*box[:3], *(bare.geometry.shape - box[3:])]
            assert min(margin) >= 8
            checked += 1
    assert checked == 9


@pytest.mark.slow
def test_dicom_and_its_conversion_give_the_same_case(
    test_data: Path, tmp_path: Path
) -> None:
    (folder,) = (test_data / 'luna16-mini' / 'subset1-dicom').iterdir()
    series = load_volume(folder)
    write_image(tmp_path / f'{folder.name}.mhd', series.array, series.geometry)
    converted = load_volume(tmp_path / f'{folder.name}.mhd')

    cases = [prepare_case(v, find_lungs(v)) for v in (series, converted)]

    np.testing.assert_array_equal(cases[0][1]['image'], cases[1][1]['image'])
    np.testing.assert_array_equal(cases[0][1]['lungs'], cases[1][1]['lungs'])
    assert cases[0][0].geometry.is_close(cases[1][0].geometry, 1e-6)


def test_nodule_outside_the_scan_is_refused() -> None:
    table = TableReferences(
        (
            Annotation((0.0, 30.0, -20.0), 6.0),
            Annotation((0.0, -30.0, -20.0), 6.0),
        )
    )

    scan = block_scan()
    with pytest.raises(AnnotationError, match='nodule 2 .* outside the scan'):
        prepare_case(scan, find_lungs(scan), table.read(scan))


def test_thick_slices_and_masses_are_told() -> None:
    scan = block_scan()
    geometry = Geometry.from_parts(
        scan.geometry.shape,
        spacing_zyx=(5, *scan.geometry.spacing[1:]),
        origin_xyz=scan.geometry.origin.tolist(),
    )
    center = geometry.to_world([np.array(geometry.shape) / 2])[0].tolist()
    table = TableReferences((Annotation((*center,), 81.0),))
    thick = replace(scan, geometry=geometry)

    lungs = find_lungs(scan)
    caveats = prepare_case(thick, lungs, table.read(thick)).record.caveats

    assert any('slices are 5 mm apart' in text for text in caveats)
    assert any('nodule 1 is 81 mm wide' in text for text in caveats)
    small = prepare_case(scan, lungs).record.caveats
    assert not any('apart' in text or 'wide' in text for text in small)
