"""Models Genesis pre-training of the demo's narrow backbone.

With quartet attention, on the scans that the demo trains on: minutes on a CPU.

Phantoms take some 200 steps before anything is restored. `make demo-table`
trains the 14 epochs (616 steps) here; `make demo` has time for one.

    python tools/train.py configs/genesis_demo.py --amp
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
pipeline = [
    # small scans hardly have crops with little soft tissue
    dict(type='LoadLungCrop', size=(32, 64, 64), max_tissue=None,
         min_lung=0.2),
    *_base_.pipeline[1:],
]
train_dataloader = dict(
    num_workers=0,
    dataset=dict(
        crops_per_scan=4, test_subsets=(6, 7, 8, 9), val_subsets=()))
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=14)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=10),
    dict(type='CosineAnnealingLR', T_max=14, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
