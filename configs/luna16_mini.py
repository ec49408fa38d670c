"""BASE reduced for three real scans and a CPU: two to train, one to test.

BASE's losses, targets and SGD; a narrow backbone, crops of 64^3 in batches
of 4, 200 epochs of two to four steps, heads from epochs 40 and 80, one
background crop for each nodule. Three scans with nine nodules cannot measure
a detector, only show that everything runs; docs/results.md has the results.

    python tools/cross_val.py configs/luna16_mini.py --folds series \
      --cfg-options data_root=CASES
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
    './_base_/backbones/narrow.py',
]
val_series = []
train_pipeline = [
    dict(type='PlaceCrop', size=(64, 64, 64), margin=8),
    dict(type='RandomFlip3D', axes=(1, 2)),
    dict(type='LoadCrop'),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(background_ratio=1.0))
test_dataloader = dict(num_workers=0)
val_dataloader = None
val_cfg = None
val_evaluator = None
model = dict(
    channels_last=True,
    backbone=_base_._narrow,
    rpn_head=dict(in_channels=24, feat_channels=32),
    roi_head=dict(
        bbox_head=dict(in_channels=24, fc_channels=(128, 64)),
        mask_head=dict(in_channels=24, skip_channels=8, channels=16)),
    train_cfg=dict(rcnn=dict(start_epoch=40), mask=dict(start_epoch=80)),
    test_cfg=dict(window=(64, 64, 64)))
default_hooks = dict(checkpoint=dict(interval=20, save_best=None))
