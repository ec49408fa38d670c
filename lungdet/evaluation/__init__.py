from lungdet.evaluation.bootstrap import (
    Bootstrap,
    bootstrap_cpm,
    bootstrap_froc,
    official_bootstrap,
)
from lungdet.evaluation.froc import (
    RATES,
    FROCResult,
    evaluate_froc,
    thinned_curve,
)
from lungdet.evaluation.mask_metrics import dice_iou
from lungdet.evaluation.table import froc_table

__all__ = [
    'RATES',
    'Bootstrap',
    'FROCResult',
    'bootstrap_cpm',
    'bootstrap_froc',
    'dice_iou',
    'evaluate_froc',
    'froc_table',
    'official_bootstrap',
    'thinned_curve',
]
