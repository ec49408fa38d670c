"""Models Genesis pre-training for luna16_mini_qam_mg.py.

192 steps on crops of two real scans; docs/pretraining.md has a longer run
that validates.

    python tools/train.py configs/genesis_mini.py --cfg-options data_root=CASES
"""
_base_ = [
    './genesis_featurenet.py',
    './_base_/plugins/quartet.py',
    './_base_/backbones/narrow.py',
]
model = dict(
    channels_last=True,
    backbone=dict(plugins=_base_.plugins, **_base_._narrow),
    head=dict(in_channels=24, channels=(16, 8)))
train_dataloader = dict(num_workers=0, dataset=dict(crops_per_scan=48))
val_dataloader = dict(num_workers=0, dataset=dict(crops_per_scan=24))
train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=10),
    dict(type='CosineAnnealingLR', T_max=12, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
