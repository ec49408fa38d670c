from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lungdet.engine.plain_values import plain


def test_whatever_is_in_a_checkpoint_is_read_as_weights_alone(
    tmp_path: Path,
) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    values = {
        'step': np.int64(3),
        'rate': np.float32(0.5),
        'betas': (0.9, 0.999),
        'type': torch.optim.AdamW,
        'path': Path('a') / 'b',
        'nested': [{'weight': weight, 'none': None, 'flag': True}],
    }

    torch.save(plain(values), tmp_path / 'a.pth')
    stored = torch.load(tmp_path / 'a.pth', weights_only=True)

    (nested,) = stored.pop('nested')
    assert stored == {
        'step': 3,
        'rate': 0.5,
        'betas': [0.9, 0.999],
        'type': 'AdamW',
        'path': str(Path('a') / 'b'),
    }
    kept = nested.pop('weight')
    assert torch.equal(kept, torch.ones(2)) and not kept.requires_grad
    assert nested == {'none': None, 'flag': True}
    assert values['nested'][0]['weight'] is weight
