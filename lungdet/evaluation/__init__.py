from lungdet.evaluation.bootstrap import (
    Bootstrap,
    Difference,
    bootstrap_froc,
    official_bootstrap,
    paired_bootstrap,
)
from lungdet.evaluation.checks import Notice, mangled_ids
from lungdet.evaluation.curve import READ_OUTS, Curve, thinned
from lungdet.evaluation.froc import (
    RATES,
    FROCResult,
    evaluate_froc,
    mean_sensitivity,
    summarise,
)
from lungdet.evaluation.mask_metrics import dice_iou
from lungdet.evaluation.matching import MAX_MARKS, Fate, ScanMatch, match_scan
from lungdet.evaluation.table import difference_table, froc_table

__all__ = [
    'MAX_MARKS',
    'RATES',
    'READ_OUTS',
    'Bootstrap',
    'Curve',
    'Difference',
    'FROCResult',
    'Fate',
    'Notice',
    'ScanMatch',
    'bootstrap_froc',
    'dice_iou',
    'difference_table',
    'evaluate_froc',
    'froc_table',
    'mangled_ids',
    'match_scan',
    'mean_sensitivity',
    'official_bootstrap',
    'paired_bootstrap',
    'summarise',
    'thinned',
]
