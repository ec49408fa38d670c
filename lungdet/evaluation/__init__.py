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
from lungdet.evaluation.checks import Caveat, mangled_ids
from lungdet.evaluation.curve import READ_OUTS, FROCCurve, thinned
from lungdet.evaluation.detection_ap import (
    AveragePrecision,
    average_precision,
)
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
from lungdet.evaluation.mask_metrics import (
    MaskScore,
    detection_scores,
    dice_iou,
    reference_box_scores,
    scan_score,
)
from lungdet.evaluation.matching import (
    MAX_MARKS,
    MatchOutcome,
    ScanMatch,
    match_scan,
)
from lungdet.evaluation.strata import (
    diameter_labels,
    strata_by_nodule,
    strata_by_scan,
)
from lungdet.evaluation.table import (
    difference_table,
    froc_table,
    mask_table,
    rate_name,
)

__all__ = [
    'MAX_MARKS',
    'RATES',
    'READ_OUTS',
    'AveragePrecision',
    'Bootstrap',
    'Calibration',
    'CandidateSummary',
    'Difference',
    'FROCCurve',
    'FROCResult',
    'MatchOutcome',
    'MaskScore',
    'Caveat',
    'ScanMatch',
    'average_precision',
    'bootstrap_froc',
    'calibrate',
    'check_candidates',
    'detection_scores',
    'diameter_labels',
    'dice_iou',
    'difference_table',
    'evaluate_froc',
    'false_positive_rows',
    'froc_table',
    'mangled_ids',
    'match_scan',
    'mask_table',
    'mean_sensitivity',
    'nodule_rows',
    'official_bootstrap',
    'paired_bootstrap',
    'rate_name',
    'reference_box_scores',
    'scan_rows',
    'scan_score',
    'strata_by_nodule',
    'strata_by_scan',
    'summarise',
    'summarise_candidates',
    'thinned',
]
