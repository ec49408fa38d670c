"""A narrow NoduleNet with the strong recipe: minutes on two CPU cores.

Made for `make demo` on small phantoms: six subsets to train, four to test. It
differs from the strong recipe to save time: a narrow backbone, batches of two
64^3 crops (more steps beat larger batches here), mild scaling and no rotation,
faster averaging of the weights, few proposals. QAM and QAM+MG change nothing
else.
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/models/strong.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/adamw_100e.py',
    './_base_/default_runtime.py',
    './_base_/backbones/narrow.py',
]
model = dict(
    channels_last=True,  # with bfloat16 about twice as fast on CPUs
    backbone=_base_._narrow,
    box_border=0,
    rpn_head=dict(
        **_base_._strong_rpn_head, in_channels=24, feat_channels=32),
    roi_head=dict(
        border=8,
        bbox_head=dict(in_channels=24, fc_channels=(128, 64)),
        mask_head=dict(in_channels=24, skip_channels=8, channels=16)),
    train_cfg=dict(
        rpn=dict(
            _base_._strong_rpn_training,
            proposals=dict(score_thr=0.05, nms_pre=200, max_num=32)),
        rcnn=dict(
            start_epoch=10,
            assigner=_base_._strong_roi_assigner,
            sampler=dict(num=16)),
        mask=dict(start_epoch=19, max_pos=2)),
    test_cfg=dict(
        window=(64, 64, 64),
        overlap=16,
        rpn=dict(nms_pre=200, max_num=16),
        postprocess=dict(nms=_base_._strong_nms),
        bf16=True))
train_pipeline = [
    dict(type='PlaceCrop', size=(64, 64, 64), margin=8, clip=True),
    dict(type='RandomFlip3D', axes=(0, 1, 2)),
    dict(type='RandomTransposeXY'),
    dict(type='RandomAffine3D', scale=(0.8, 1.3), scale_prob=0.3,
         rotate_prob=0.0),
    dict(type='LoadCrop'),
    dict(type='RandomHUShiftScale'),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(
        background_ratio=0.6,
        test_subsets=(6, 7, 8, 9), val_subsets=()))
test_dataloader = dict(
    num_workers=0,
    dataset=dict(test_subsets=(6, 7, 8, 9), val_subsets=()))
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=30)
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=1e-2, fused=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', T_max=30, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
# every fourth step, four times as far: the pace of 0.005 and 10, for less
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.02,
         gamma=40, interval=4, update_buffers=True),
]
default_hooks = dict(checkpoint=dict(interval=2, save_best=None))
