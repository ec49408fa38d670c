"""Models Genesis pre-training of the demo's narrow backbone, on the phantoms
that the demo trains on: about 170 steps of 1.5 CPU-seconds.

    python tools/train.py configs/genesis_demo.py
"""
_base_ = ['./genesis_featurenet.py']
model = dict(
    channels_last=True,
    backbone=dict(stem_channels=12, channels=(16, 32, 32, 32, 32, 32)),
    head=dict(in_channels=32, channels=(32, 16)))
folds = dict(test_subsets=(5, 6, 7, 8, 9), val_subsets=(4, ))
train_dataloader = dict(
    num_workers=0, dataset=dict(crops_per_scan=2, **folds))
val_dataloader = dict(num_workers=0, dataset=dict(crops_per_scan=2, **folds))
train_cfg = dict(max_epochs=13)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', T_max=13, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
