from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lungdet.exporters import export_result
from tests.exporters.scene import empty_result, make_result
from tests.report.html.parsing import ParsedPage
from tests.report.html.scene import make_image
from tests.report.html.scene import make_result as make_seen


def test_the_report_shows_the_case_and_its_masks(tmp_path: Path) -> None:
    image, result = make_image(), make_seen()
    mask = image.labels[14:26, 10:40, 20:60] > 0  # type: ignore[index]
    result.detections[0] = replace(
        result.detections[0], mask=mask, mask_box=(14, 10, 20, 26, 40, 60)
    )

    written = export_result(tmp_path, result, ['html'], image=image.array)

    assert written.files == {'html': ['report.html']}
    page = ParsedPage((tmp_path / 'report.html').read_text(encoding='utf-8'))
    assert len(page.all('article', 'card')) == 4
    assert len(page.all('path', 'outline')) == 3


def test_without_voxels_or_detections_there_is_a_report(
    tmp_path: Path,
) -> None:
    for result, text in (
        (make_result(), '2 detections'),
        (empty_result(), 'Nothing was detected.'),
    ):
        export_result(tmp_path, result, ['html'])

        page = (tmp_path / 'report.html').read_text(encoding='utf-8')
        assert text in ParsedPage(page).texts
