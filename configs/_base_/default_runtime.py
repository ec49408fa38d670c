default_scope = 'lungdet'
randomness = dict(seed=0)
env_cfg = dict(cudnn_benchmark=False)
log_level = 'INFO'
log_processor = dict(by_epoch=True, window_size=20)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='LungCheckpointHook', save_best='froc/cpm'),
    sampler_seed=None,  # ExactSampler and the loop know the epoch
)
custom_hooks = [
    dict(type='IterSeedHook'),
    dict(type='StageScheduleHook'),
    dict(type='StopOnNaNHook'),
]
allow_seen_test = False  # True: test scans may be those trained on
load_from = None
resume = False
auto_scale_lr = dict(enable=False, base_batch_size=16)
