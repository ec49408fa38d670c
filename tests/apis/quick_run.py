"""Options of a run of seconds, without validation."""

QUICK = {
    'train_cfg.max_epochs': 1,
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
    'default_hooks.checkpoint.save_best': None,
    '+test_evaluator.bootstrap': 20,
}
