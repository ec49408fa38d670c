from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungdet.errors import SeriesError
from lungdet.report.html import page as module
from lungdet.report.html.page import environment, num, part, render_page, short
from lungdet.report.html.volume_viewer import LIBRARY
from tests.report.html.parsing import ParsedPage
from tests.report.html.scene import make_result


def rendered(**values: object) -> str:
    defaults = {
        'result': make_result(),
        'oblique': False,
        'detections': [],
        'max_pictures': 1,
        'reference': None,
        'nodules': [],
        'cine': None,
        'start': 0,
        'data': {},
        'volumes': None,
    }
    return render_page('scan.html', **(defaults | values))


@given(st.text())
def test_any_text_is_shown_as_text_and_nothing_else(text: str) -> None:
    uid = text or 'x'
    page = ParsedPage(rendered(result=make_result(uid), data={'a': text}))

    plain = ParsedPage(rendered(result=make_result('x'), data={'a': 'x'}))
    assert page.elements == plain.elements
    assert not page.open
    assert page.data() == {'a': text}
    if short(uid).strip():
        assert short(uid).strip() in page.texts


def test_data_for_the_script_holds_no_markup() -> None:
    text = '</script><!--<script>&\u2028\u2029'

    page = rendered(data={'a': text})

    (stored,) = (t for kind, t in ParsedPage(page).scripts if kind)
    assert not set('<>&\u2028\u2029') & set(stored)
    assert json.loads(stored) == {'a': text}


def test_the_policy_forbids_everything_but_what_the_page_holds() -> None:
    (policy,) = (
        tag['content']
        for tag in ParsedPage(rendered()).all('meta')
        if tag.get('http-equiv') == 'Content-Security-Policy'
    )
    assert policy == (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'"
    )


def test_text_is_cut_and_control_characters_are_shown() -> None:
    assert short('a' * 64) == 'a' * 64
    assert short('a' * 65) == 'a' * 63 + '…'
    assert short('\x1b[31m\n') == '\\x1b[31m\\n'


def test_numbers_that_are_not_known_are_a_dash() -> None:
    assert [num(v) for v in (None, 0.0, -0.04, -0.06, 12.25)] == [
        *('–', '0.0', '0.0', '-0.1', '12.2'),
    ]


def test_a_page_that_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, 'MAX_PAGE_BYTES', 10_000)

    with pytest.raises(SeriesError, match=r'MB, a page may have 0\.01'):
        rendered(data={'a': 'x' * 10_000})


def test_scripts_cannot_end_the_element_that_holds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 'Niivue' in part(LIBRARY)
    monkeypatch.setitem(module.ENDS, '.css', 'color-scheme')
    with pytest.raises(ValueError, match='would end the element'):
        part('templates/report.css')


def test_every_template_escapes() -> None:
    made = environment()
    assert made.autoescape is True
    for name in made.list_templates(extensions=['html']):
        made.get_template(name)
        source, *_ = made.loader.get_source(made, name)
        unescaped = [one for one in source.split('{{') if '|safe' in one]
        assert all(one.startswith(" part('") for one in unescaped), name
