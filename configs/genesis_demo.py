"""Models Genesis pre-training of the demo's narrow backbone: minutes on two
CPU cores.

    python tools/train.py configs/genesis_demo.py --amp
"""
_base_ = ['./genesis_featurenet.py']
model = dict(
    channels_last=True,
    backbone=dict(stem_channels=12, channels=(16, 32, 32, 32, 32, 32)),
    head=dict(in_channels=32, channels=(32, 16)))
train_dataloader = dict(
    num_workers=0,
    dataset=dict(
        crops_per_scan=4, test_subsets=(5, 6, 7, 8, 9), val_subsets=()))
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', T_max=12, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
