_base_ = ['./default_runtime.py']
default_hooks = dict(checkpoint=dict(save_best=None))
custom_hooks = [
    dict(type='IterSeedHook'),
    dict(type='StopOnNaNHook'),
    dict(type='DataMeanHook'),
    dict(type='StartWithMSEHook', iters=500),
    dict(type='CollapseAlarmHook'),
    dict(type='RestorationPicturesHook', interval=10),
    dict(type='ExportBackboneHook'),
]
