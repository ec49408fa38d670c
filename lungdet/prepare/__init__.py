from lungdet.prepare.case import prepare_case
from lungdet.prepare.lung_mask import find_lungs
from lungdet.prepare.run import Summary, prepare_folder, prepare_luna16

__all__ = [
    'Summary',
    'find_lungs',
    'prepare_case',
    'prepare_folder',
    'prepare_luna16',
]
