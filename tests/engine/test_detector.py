"""A detector from one file, and files that hold none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungdet.engine.detector import load_detector
from lungdet.errors import CheckpointError
from tests.engine.runs import make_meta


def test_other_things_that_torch_reads_are_refused(tmp_path: Path) -> None:
    """A bare tensor, a dict without meta, a checkpoint without a model."""
    nameless = make_meta().to_dict()
    del nameless['model']
    for content, message in (
        (torch.zeros(2), 'not written by this'),
        ({'meta': 3}, 'not written by this'),
        ({'meta': nameless, 'state_dict': {}}, 'has no meta.model'),
    ):
        torch.save(content, tmp_path / 'x.pth')
        with pytest.raises(CheckpointError, match=message):
            load_detector(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    'model',
    [
        {'type': 'subprocess.getoutput', 'cmd': 'touch {mark}'},
        {'type': 'os.path.abspath', 'path': 'x'},
        {
            'type': 'NoduleNet',
            'rpn_head': {},
            'backbone': {
                'type': 'FeatureNet',
                'plugins': [
                    {
                        'cfg': {
                            'type': 'subprocess.getoutput',
                            'cmd': 'touch {mark}',
                        },
                        'position': 'after_add',
                    }
                ],
            },
        },
        {'type': 'NoduleNet', '_scope_': 'subprocess'},
        {'type': ['NoduleNet']},
    ],
)
def test_checkpoint_runs_nothing_that_it_names(
    tmp_path: Path, model: dict
) -> None:
    mark = tmp_path / 'ran'
    text = repr(model).replace('{mark}', str(mark))
    meta = make_meta(model=eval(text)).to_dict()
    torch.save({'meta': meta, 'state_dict': {}}, tmp_path / 'evil.pth')

    with pytest.raises(CheckpointError, match='which is not registered'):
        load_detector(tmp_path / 'evil.pth')

    assert not mark.exists()


def test_class_of_ones_own_is_named_with_its_imports(tmp_path: Path) -> None:
    meta = make_meta(
        model={'type': 'MyNet'}, imports=['my_project.nets']
    ).to_dict()
    torch.save({'meta': meta, 'state_dict': {}}, tmp_path / 'own.pth')

    with pytest.raises(
        CheckpointError, match=r"'MyNet'.*\['my_project.nets'\]: import"
    ):
        load_detector(tmp_path / 'own.pth')


def test_pretraining_checkpoint_is_no_detector(genesis_run: Path) -> None:
    with pytest.raises(CheckpointError, match='GenesisPretrainer'):
        load_detector(genesis_run)
