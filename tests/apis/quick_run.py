"""Options of a run of seconds."""

from tests.engine.runs import NO_VALIDATION

QUICK = {
    **NO_VALIDATION,
    'train_cfg.max_epochs': 1,
    '+test_evaluator.bootstrap': 20,
}
