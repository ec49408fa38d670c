from lungdet.evaluation.bootstrap import (
    Bootstrap,
    Difference,
    bootstrap_froc,
    official_bootstrap,
    paired_bootstrap,
)
from lungdet.evaluation.calibration import Calibration, calibrate
from lungdet.evaluation.candidates import (
    CandidateSummary,
    check_candidates,
    summarise_candidates,
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
from lungdet.evaluation.listing import (
    false_positive_rows,
    nodule_rows,
    scan_rows,
)
from lungdet.evaluation.mask_metrics import dice_iou
from lungdet.evaluation.matching import MAX_MARKS, Fate, ScanMatch, match_scan
from lungdet.evaluation.strata import (
    diameter_labels,
    strata_by_nodule,
    strata_by_scan,
)
from lungdet.evaluation.table import difference_table, froc_table

__all__ = [
    'MAX_MARKS',
    'RATES',
    'READ_OUTS',
    'Bootstrap',
    'Calibration',
    'CandidateSummary',
    'Curve',
    'Difference',
    'FROCResult',
    'Fate',
    'Notice',
    'ScanMatch',
    'bootstrap_froc',
    'calibrate',
    'check_candidates',
    'diameter_labels',
    'dice_iou',
    'difference_table',
    'evaluate_froc',
    'false_positive_rows',
    'froc_table',
    'mangled_ids',
    'match_scan',
    'mean_sensitivity',
    'nodule_rows',
    'official_bootstrap',
    'paired_bootstrap',
    'scan_rows',
    'strata_by_nodule',
    'strata_by_scan',
    'summarise',
    'summarise_candidates',
    'thinned',
]
