from lungdet.evaluation.froc import (
    RATES,
    FROCResult,
    bootstrap_cpm,
    evaluate_froc,
)
from lungdet.evaluation.mask_metrics import dice_iou
from lungdet.evaluation.table import froc_table

__all__ = [
    'RATES',
    'FROCResult',
    'bootstrap_cpm',
    'dice_iou',
    'evaluate_froc',
    'froc_table',
]
