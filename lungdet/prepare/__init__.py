from lungdet.prepare.case import PreparedCase, prepare_case
from lungdet.prepare.folder import prepare_folder
from lungdet.prepare.locate import locate
from lungdet.prepare.luna16 import prepare_luna16
from lungdet.prepare.lung_mask import find_lungs
from lungdet.prepare.lung_sides import LungSides, find_sides
from lungdet.prepare.nodules import prepare_nodules
from lungdet.prepare.summary import Summary

__all__ = [
    'LungSides',
    'PreparedCase',
    'Summary',
    'find_lungs',
    'find_sides',
    'locate',
    'prepare_case',
    'prepare_folder',
    'prepare_luna16',
    'prepare_nodules',
]
