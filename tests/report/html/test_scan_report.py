from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungdet.evaluation import Selection
from lungdet.report.html import scan_report as module
from lungdet.report.html.scan_report import scan_page
from lungdet.structures import ModelInfo, RunInfo
from tests.report.html.parsing import ParsedPage
from tests.report.html.scene import (
    GRID,
    HOSTILE,
    NODULES,
    REFERENCE,
    make_image,
    make_result,
)


@pytest.fixture(scope='module')
def known() -> ParsedPage:
    return ParsedPage(
        scan_page(make_result(), make_image(), reference=REFERENCE)
    )


def test_the_page_is_whole_and_loads_nothing(known: ParsedPage) -> None:
    assert not known.open
    ids = [a['id'] for _, a in known.elements if 'id' in a]
    assert len(ids) == len({*ids})
    for _, attributes in known.elements:
        for name in ('src', 'href', 'srcset', 'action', 'data'):
            assert (attributes.get(name) or 'data:').startswith('data:')
        labelled = attributes.get('aria-labelledby')
        assert labelled is None or labelled in ids
    assert not {'link', 'iframe', 'object', 'form'} & {
        tag for tag, _ in known.elements
    }
    assert all('alt' in image for image in known.all('img'))
    assert known.texts.count('Research use only. Not for clinical use.') == 1


def test_the_table_has_every_detection(known: ParsedPage) -> None:
    rows = [row for row in known.all('tr') if 'data-number' in row]

    assert [(row['data-number'], row['data-score']) for row in rows] == [
        *(('1', '0.97'), ('2', '0.6'), ('3', '0.3'), ('4', '0.1'))
    ]
    text = ' '.join(known.texts)
    assert '0.970 hit 12.0 21 80 left upper 905 0.0 5.0 -80.0' in text
    assert '0.600 hit 9.0 – – – – 22.0 20.0 -100.0' in text
    assert '0.300 false 6.0 – – – – -10.0 0.0 -100.0' in text
    assert '0.100 excluded – – – – – 25.0 -10.0 -75.0' in text


def test_reference_nodules_are_hit_or_missed(known: ParsedPage) -> None:
    text = ' '.join(known.texts)

    assert 'made up: 3 nodules, 2 hit, 1 missed' in text
    assert 'N1 12.0 hit by 1 0.0 5.0 -80.0' in text
    assert 'N2 9.0 hit by 2' in text and 'N3 10.0 missed' in text
    kinds = {b['label']: b['kind'] for b in known.data()['boxes']}
    assert kinds == {
        **{'#1': 'hit', '#2': 'hit', '#3': 'false', '#4': 'excluded'},
        **{'N1': 'nodule', 'N2': 'nodule', 'N3': 'missed'},
    }


def test_every_detection_and_miss_has_three_planes(known: ParsedPage) -> None:
    planes = [
        f['data-plane'] for f in known.all('figure') if 'data-plane' in f
    ]

    assert planes == ['axial', 'coronal', 'sagittal'] * 5
    # the four of the mask outlined, the last detection has a cross
    assert len(known.all('path', 'outline')) == 3
    assert len(known.all('path', 'excluded')) == 3
    drawn = [a for a in known.all('rect', 'hit') if 'width' in a]
    assert [a['width'] for a in drawn][1:4] == ['24.0', '24.0', '24.0']
    assert len(known.all('rect', 'missed')) == 3 + 1  # and in the legend


def test_the_page_opens_at_the_best_detection(known: ParsedPage) -> None:
    (slider,) = (i for i in known.all('input') if i['id'] == 'slider')

    z = GRID.to_index(np.array([NODULES[0].center_mm]))[0, 0]
    assert slider['value'] == str(round(GRID.shape[0] - 1 - z))
    data = known.data()
    assert data['captions'][int(slider['value'])] in known.texts
    assert data['captions'][0] == 'slice 30 of 30, instance 71, -62.0 mm'
    assert len(data['images']) == GRID.shape[0]


def test_texts_of_a_result_are_shown_as_text() -> None:
    model = ModelInfo(*(HOSTILE,) * 5, window=(-1200, 600), spacing_mm=1)
    run = RunInfo(HOSTILE, HOSTILE, HOSTILE, HOSTILE, {})
    result = replace(
        make_result(HOSTILE),
        caveats=[HOSTILE, 'a' * 500],
        model=model,
        run=run,
    )
    result.detections[0] = replace(result.detections[0], lung_side=HOSTILE)
    reference = replace(REFERENCE, name=HOSTILE)

    page = ParsedPage(scan_page(result, make_image(), reference=reference))

    assert not page.open
    assert not [a for _, a in page.elements if 'onerror' in a]
    assert len(page.scripts) == 2
    assert any(HOSTILE[:30] in text for text in page.texts)
    assert max(map(len, page.texts)) < 600


def test_what_was_dropped_is_told_once() -> None:
    page = ParsedPage(
        scan_page(Selection(0.5, None, None).apply(make_result()))
    )

    told = [text for text in page.texts if 'dropped' in text]
    assert told == ['detections were dropped: 2 with a score below 0.5']


def test_without_voxels_the_page_has_tables_only() -> None:
    page = ParsedPage(scan_page(make_result(), reference=REFERENCE))

    assert not page.all('img') and not page.all('figure')
    assert 'No pictures: the scan was not given.' in page.texts
    assert page.data() == {'images': [], 'captions': [], 'boxes': []}
    assert len([r for r in page.all('tr') if 'data-number' in r]) == 4


def test_without_a_reference_nothing_is_judged() -> None:
    page = ParsedPage(scan_page(make_result(), make_image()))

    assert {b['kind'] for b in page.data()['boxes']} == {'detection'}
    text = ' '.join(page.texts)
    assert 'missed' not in text and 'reference' not in text.lower()


def test_a_scan_without_detections_is_shown_all_the_same() -> None:
    empty = replace(make_result(), detections=[])

    page = ParsedPage(scan_page(empty, make_image()))

    assert 'Nothing was detected.' in page.texts
    assert '0 detections' in page.texts
    (slider,) = (i for i in page.all('input') if i['id'] == 'slider')
    assert slider['value'] == '15'


def test_only_the_best_of_many_detections_have_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, 'MAX_PICTURES', 2)

    page = ParsedPage(scan_page(make_result(), make_image()))

    assert len(page.all('article', 'card')) == 2
    assert 'The 2 of the highest scores.' in page.texts
    assert len([r for r in page.all('tr') if 'data-number' in r]) == 4


def test_a_detection_outside_the_voxels_is_in_the_table_only() -> None:
    result = make_result()
    result.detections[2] = replace(
        result.detections[2], center_mm=(500.0, 0.0, 0.0)
    )

    page = ParsedPage(scan_page(result, make_image()))

    assert len(page.all('article', 'card')) == 3


def test_an_oblique_scan_says_so() -> None:
    cos, sin = np.cos(0.3), np.sin(0.3)
    turned = GRID.transformed(
        np.diag(1 / GRID.spacing)
        @ [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]
        @ np.diag(GRID.spacing),
        (10, 20, 30),
        GRID.shape,
    )
    image = replace(make_image(), geometry=turned)

    page = ParsedPage(
        scan_page(replace(make_result(), geometry=turned), image)
    )

    assert 'The scan is oblique' in ' '.join(page.texts)
    assert 'oblique' not in ' '.join(
        ParsedPage(scan_page(make_result(), make_image())).texts
    )


def test_the_volume_viewer_is_added_on_demand() -> None:
    page = scan_page(make_result(), make_image(), viewer='niivue')

    parsed = ParsedPage(page)
    assert len(parsed.all('canvas')) == 1
    (policy,) = (t['content'] for t in parsed.all('meta') if 'http-equiv' in t)
    assert policy is not None and 'connect-src data: blob:' in policy
    assert "default-src 'none'" in policy
    assert 2_200_000 < len(page) < 3_500_000
