"""Models Genesis pre-training of the plain backbone; not trained yet.

Distortions, probabilities and crop as published; L1 as the method's text
says. Different: the detector's window and spacing, its training folds only,
500 steps of the squared error first, without which L1 collapses, AdamW with a
cosine schedule instead of SGD at a rate of 1, and eight new crops per scan and
epoch.

    python tools/train.py configs/genesis_featurenet.py --amp

writes work_dirs/genesis_featurenet/backbone.safetensors, from which
nodulenet_mg.py starts.
"""
_base_ = [
    './_base_/models/restoration.py',
    './_base_/datasets/lung_crops.py',
    './_base_/schedules/adamw_100e.py',
    './_base_/default_runtime.py',
]
default_hooks = dict(checkpoint=dict(save_best=None))
custom_hooks = [
    dict(type='DataMeanHook'),
    dict(type='StartWithMSEHook', iters=500),
    dict(type='CollapseAlarmHook'),
    dict(type='RestorationPicturesHook', interval=10),
    dict(type='ExportBackboneHook'),
]
