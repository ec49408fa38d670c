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
# your hooks; those for the seed of each step, the start of heads, the stop at
# a loss that is not finite and the run's manifest always run
custom_hooks = []
allow_seen_test = False  # True: test scans may be training scans
load_from = None
resume = False
auto_scale_lr = dict(enable=False, base_batch_size=16)
