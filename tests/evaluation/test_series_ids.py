from __future__ import annotations

import pytest

from lungdet.evaluation import mangled_ids


@pytest.mark.parametrize(
    ('mangled', 'listed'),
    [
        ('56', '056'),
        ('56.0', '056'),
        ('1.2.3', '1.02.3'),
        ('1.3.6.1.4.1.14519.5.2', '1.3.6.1.4.1.14519.5.2.1.6279.6001.1005'),
    ],
)
def test_ids_that_lost_digits_are_recognised(
    mangled: str, listed: str
) -> None:
    assert mangled_ids([mangled, listed], ['7', listed]) == {mangled: listed}


def test_other_ids_are_not_taken_for_mangled_ones() -> None:
    listed = ['056', '1.2.840.113654.1', 'scan-1']

    assert mangled_ids(['57', '1.2.840.113654.2', 'scan-2'], listed) == {}
    assert mangled_ids(['scan'], listed) == {}  # too short to be a cut id
    assert mangled_ids(['scan_001'], ['scan_001_repeat']) == {}
    assert mangled_ids([root := '1.2.840.113'], [f'{root}-inserted-0']) == {}
    # of a phantom folder, where the list is a part of the scans
    root = '1.2.826.0.1.3680043.10.9999.1'
    assert mangled_ids([f'{root}.1'], [f'{root}.15', f'{root}.100']) == {}
