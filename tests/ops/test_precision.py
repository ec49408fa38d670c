from __future__ import annotations

import platform
import re
import warnings
from pathlib import Path

import pytest
import torch

from lungdet.ops import bfloat16_autocast, computes_bfloat16, precision


@pytest.mark.filterwarnings('default')
def test_float32_where_the_processor_would_emulate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = torch.nn.Linear(2, 3), torch.ones(1, 2)
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda _: False)
    with pytest.warns(UserWarning, match='this cpu has no bfloat16'):
        context = bfloat16_autocast('cpu')
    with context:
        assert layer(x).dtype == torch.float32

    monkeypatch.setattr(precision, 'computes_bfloat16', lambda _: True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with bfloat16_autocast('cpu'):
            assert layer(x).dtype == torch.bfloat16
        with bfloat16_autocast('cpu', False):
            assert layer(x).dtype == torch.float32


def test_processors_that_only_emulate_bfloat16_do_not_compute_it() -> None:
    cpuinfo = Path('/proc/cpuinfo')
    if platform.machine() != 'x86_64' or not cpuinfo.is_file():
        pytest.skip('the flags of an x86 processor, as Linux lists them')
    flags = re.search(r'^flags\s*:(.*)$', cpuinfo.read_text(), re.MULTILINE)
    assert flags is not None
    has_it = {'avx512_bf16', 'amx_bf16'} & set(flags[1].split())
    assert computes_bfloat16('cpu') == bool(has_it)
