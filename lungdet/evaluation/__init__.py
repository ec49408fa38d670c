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
from lungdet.evaluation.cases import (
    CaseOptions,
    ScoredScan,
    case_grouping,
    case_reference,
    evaluate_cases,
    run_caveats,
)
from lungdet.evaluation.caveats import Caveat
from lungdet.evaluation.curve import READ_OUTS, FROCCurve, thinned
from lungdet.evaluation.details import (
    false_positive_lines,
    nodule_lines,
    scan_lines,
)
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
from lungdet.evaluation.points import (
    Points,
    PointsByScan,
    annotation_points,
    annotations_by_scan,
    detection_points,
)
from lungdet.evaluation.report import (
    EvaluationReport,
    Submission,
    compared_dict,
    difference_text,
)
from lungdet.evaluation.scan_masks import (
    ScanMasks,
    score_scan_masks,
    summarise_masks,
)
from lungdet.evaluation.selection import SCORE_THR, Selection
from lungdet.evaluation.series_ids import mangled_ids
from lungdet.evaluation.strata import (
    Grouping,
    diameter_labels,
    strata_by_nodule,
    strata_by_scan,
)
from lungdet.evaluation.submission import (
    EvaluationOptions,
    compare_reports,
    evaluate_submission,
)
from lungdet.evaluation.table import (
    difference_table,
    froc_table,
    mask_table,
    rate_name,
)

__all__ = [
    'SCORE_THR',
    'MAX_MARKS',
    'RATES',
    'READ_OUTS',
    'AveragePrecision',
    'Bootstrap',
    'Calibration',
    'CandidateSummary',
    'CaseOptions',
    'Caveat',
    'Difference',
    'EvaluationOptions',
    'EvaluationReport',
    'FROCCurve',
    'FROCResult',
    'Grouping',
    'MaskScore',
    'MatchOutcome',
    'Points',
    'PointsByScan',
    'ScanMasks',
    'ScanMatch',
    'ScoredScan',
    'Selection',
    'Submission',
    'annotation_points',
    'annotations_by_scan',
    'average_precision',
    'bootstrap_froc',
    'calibrate',
    'case_grouping',
    'case_reference',
    'check_candidates',
    'compare_reports',
    'compared_dict',
    'detection_points',
    'detection_scores',
    'diameter_labels',
    'dice_iou',
    'difference_table',
    'difference_text',
    'evaluate_cases',
    'evaluate_froc',
    'evaluate_submission',
    'false_positive_lines',
    'froc_table',
    'mangled_ids',
    'mask_table',
    'match_scan',
    'mean_sensitivity',
    'nodule_lines',
    'official_bootstrap',
    'paired_bootstrap',
    'run_caveats',
    'rate_name',
    'reference_box_scores',
    'scan_lines',
    'scan_score',
    'score_scan_masks',
    'strata_by_nodule',
    'strata_by_scan',
    'summarise',
    'summarise_candidates',
    'summarise_masks',
    'thinned',
]
