from lungdet.prepare.case import prepare_case
from lungdet.prepare.layouts import prepare_folder, prepare_luna16
from lungdet.prepare.lung_mask import find_lungs
from lungdet.prepare.summary import Summary

__all__ = [
    'Summary',
    'find_lungs',
    'prepare_case',
    'prepare_folder',
    'prepare_luna16',
]
