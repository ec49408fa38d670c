from __future__ import annotations

import pytest

from lungdet.errors import ConfigError
from lungdet.models.defaults import with_defaults

DEFAULTS = {
    'size': 3,
    'nms': {'iou_thr': 0.1, 'max_num': 9},
    'sampler': {'type': 'A', 'num': 5},
}


def test_what_is_not_given_stays() -> None:
    merged = with_defaults({'nms': {'max_num': 2}}, DEFAULTS, 'cfg')

    assert merged == {**DEFAULTS, 'nms': {'iou_thr': 0.1, 'max_num': 2}}
    assert with_defaults(None, DEFAULTS, 'cfg') == DEFAULTS


def test_a_component_is_changed_or_replaced() -> None:
    def sampler(**given: object) -> dict:
        return with_defaults({'sampler': given}, DEFAULTS, 'cfg')['sampler']

    assert sampler(num=7, fill=True) == {'type': 'A', 'num': 7, 'fill': True}
    assert sampler(type='B', fill=True) == {'type': 'B', 'fill': True}


def test_defaults_and_what_was_given_are_left_alone() -> None:
    given = {'nms': {'max_num': 2}, 'sampler': {'type': 'B'}}

    merged = with_defaults(given, DEFAULTS, 'cfg')
    merged['nms']['iou_thr'] = merged['sampler']['type'] = None

    assert given == {'nms': {'max_num': 2}, 'sampler': {'type': 'B'}}
    assert DEFAULTS['nms'] == {'iou_thr': 0.1, 'max_num': 9}
    other = with_defaults({}, DEFAULTS, 'cfg')
    other['nms']['iou_thr'] = None
    assert DEFAULTS['nms']['iou_thr'] == 0.1


def test_unknown_keys_are_named_with_their_path() -> None:
    with pytest.raises(
        ConfigError, match=r"cfg\.nms: unknown key 'max_nun' .*'max_num'"
    ):
        with_defaults({'nms': {'max_nun': 2}}, DEFAULTS, 'cfg')
