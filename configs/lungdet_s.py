"""The small detector for CPUs, of scans, inserted nodules and phantoms.

A FeatureNet of half width with all three heads. Each batch mixes crops around
real nodules, crops of lung with inserted nodules and shams, false marks mined
from the training scans, lung, and phantoms; docs/model_zoo.md has the commands
from the data to the weights.

    python tools/train.py configs/lungdet_s.py --amp --cfg-options \
      data_root=CASES
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/models/strong.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/adamw_100e.py',
    './_base_/default_runtime.py',
    './_base_/backbones/half.py',
]
model = dict(
    channels_last=True,
    box_border=0,
    backbone=_base_._half,
    rpn_head=dict(
        **_base_._strong_rpn_head, in_channels=32, feat_channels=32),
    roi_head=dict(
        border=8,
        bbox_head=dict(in_channels=32, fc_channels=(64, 64)),
        # a crop of two nodules must not outweigh all other losses
        mask_head=dict(
            in_channels=32, skip_channels=16, channels=16,
            loss_mask=dict(type='SoftDiceLoss', loss_weight=0.25))),
    train_cfg=dict(
        rpn=dict(
            _base_._strong_rpn_training,
            proposals=dict(score_thr=0.05, nms_pre=200, max_num=32)),
        rcnn=dict(
            start_epoch=13,
            assigner=_base_._strong_roi_assigner,
            sampler=dict(num=16)),
        mask=dict(start_epoch=13, max_pos=2)),
    test_cfg=dict(
        max_voxels=12_000_000,
        overlap=32,
        flips=2,  # mirrored views found most of all that was tried
        rpn=dict(nms_pre=2000, max_num=200),
        mask=dict(max_per_window=40),
        postprocess=dict(nms=_base_._strong_nms),
        bf16=True))
train_pipeline = [
    dict(type='PlaceCrop', size=(64, 64, 64), margin=8, clip=True),
    dict(type='RandomFlip3D', axes=(0, 1, 2)),
    dict(type='RandomTransposeXY'),
    dict(type='RandomAffine3D', scale=(0.75, 1.3), scale_prob=0.4,
         degrees=25, rotate_prob=0.2),
    dict(type='LoadCrop'),
    dict(type='NoduleInsertion', source='data/nodules.npz',
         kinds=('inserted',), prob=1.0, count=(1, 2), sham_only=0.15),
    dict(type='RandomGamma'),
    dict(type='RandomHUShiftScale'),
    dict(type='RandomSliceThickness', thickness=(0.6, 3.0), prob=0.15),
    dict(type='RandomCorrelatedNoise', noise=(5, 40), prob=0.15),
    dict(type='PackDetInputs'),
]
# 400 crops an epoch: 35 % with a real or inserted nodule, 25 % around mined
# false marks, 25 % of lung (some with shams alone), 15 % of phantoms
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='MixSampler'),
    dataset=dict(
        _delete_=True,
        type='ConcatCases',
        val_subsets=(),  # nothing is validated, so all but the test is trained
        datasets=[
            dict(type='LUNA16Dataset', size_weighting=0.5,
                 crops=dict(nodule=50, mined=100, lung=70, inserted=105,
                            anywhere=15)),
            dict(type='LUNA16Dataset', data_root='data/phantoms',
                 test_subsets=(), val_subsets=(), size_weighting=0.5,
                 crops=dict(nodule=45, lung=15))]))
test_pipeline = [
    dict(type='LoadCase', lung_margin_mm=8), dict(type='PackDetInputs')]
test_dataloader = dict(num_workers=0)
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=40)
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=1e-2, fused=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=60),
    dict(type='CosineAnnealingLR', T_max=40, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.004,
         gamma=40, interval=4, update_buffers=True),
    dict(type='HardNegativeHook', at=(0.4, 0.7), per_scan=50),
]
default_hooks = dict(checkpoint=dict(interval=2, save_best=None))
