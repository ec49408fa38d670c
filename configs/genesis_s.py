"""Models Genesis pre-training for lungdet_s_mg.py, minutes on a CPU.

    python tools/train.py configs/genesis_s.py --amp
"""
_base_ = [
    './genesis_featurenet.py',
    './_base_/backbones/half.py',
]
model = dict(
    channels_last=True,
    backbone=_base_._half,
    head=dict(in_channels=32, channels=(32, 16)))
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(crops_per_scan=64, val_subsets=()))
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=20)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', T_max=20, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
