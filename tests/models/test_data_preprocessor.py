from __future__ import annotations

import pytest
import torch

from lungdet.errors import ConfigError
from lungdet.hounsfield import Window
from lungdet.models import CTDataPreprocessor, RestorationPreprocessor
from tests.models.ssl.toys import samples


def test_detection_and_pretraining_scale_alike() -> None:
    """Detection's range is twice the normalized intensity minus one."""
    hu = torch.arange(-1300, 800, dtype=torch.int16)
    window = (-1200, 600)
    detector = CTDataPreprocessor(window=window)
    restorer = RestorationPreprocessor(window=window)

    intensity = Window(*window).normalize(hu)

    network = restorer.to_network(intensity)
    assert torch.equal(network, detector.apply_window(hu))
    assert torch.equal(network, 2 * intensity - 1)


def test_crops_of_another_window_are_refused_with_both_values() -> None:
    restorer = RestorationPreprocessor(window=(-1000, 400))
    crop = torch.zeros(1, 2, 2, 2)
    names = ('inputs', 'targets', 'masked', 'lungs')
    batch = {name: [crop] for name in names}

    with pytest.raises(ConfigError, match=r'-1200.*600.*-1000.*400'):
        restorer({**batch, 'data_samples': samples(1)}, True)


def test_crops_are_stacked_and_windowed_in_training() -> None:
    detector = CTDataPreprocessor(window=(-1000, 1000), out_range=(0, 2))
    crops = [
        torch.full((1, 2, 3, 4), hu, dtype=torch.int16) for hu in (-2000, 500)
    ]

    batch = detector({'inputs': crops}, True)['inputs']

    assert batch.shape == (2, 1, 2, 3, 4)
    assert batch[:, 0, 0, 0, 0].tolist() == [0.0, 1.5]


def test_whole_cases_stay_hu_in_evaluation() -> None:
    cases = [torch.zeros(1, 5, 4, side, dtype=torch.int16) for side in (3, 6)]

    inputs = CTDataPreprocessor()({'inputs': cases})['inputs']

    assert [case.dtype for case in inputs] == [torch.int16] * 2
    assert [case.shape[-1] for case in inputs] == [3, 6]


def test_crops_of_different_sizes_cannot_be_stacked() -> None:
    crops = [torch.zeros(1, 5, 4, side) for side in (3, 6)]

    with pytest.raises(ValueError, match=r'\(1, 5, 4, 3\), \(1, 5, 4, 6\)'):
        CTDataPreprocessor()({'inputs': crops}, True)
