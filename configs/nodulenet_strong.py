"""NoduleNet with the strong recipe, at full size; not trained yet.

Different from BASE: boxes as large as the nodules, matched and merged by the
distance of their centres; several positives per nodule with an ignored shell,
focal loss, anchors of LUNA16's sizes, crops that stay in the case, two
background crops for every three with a nodule, more augmentation, Nesterov and
a polynomial schedule, averaged weights, no detections far outside the lungs.

    python tools/train.py configs/nodulenet_strong.py --amp
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/models/strong.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
]
# on a GPU: the fast layout, and its fastest kernels, which may round otherwise
# in every run
env_cfg = dict(cudnn_benchmark=True)
model = dict(
    channels_last=True,
    box_border=0,
    rpn_head=_base_._strong_rpn_head,
    roi_head=dict(border=8),
    train_cfg=dict(
        rpn=_base_._strong_rpn_training,
        rcnn=dict(assigner=_base_._strong_roi_assigner)),
    test_cfg=dict(postprocess=dict(nms=_base_._strong_nms)))
train_pipeline = [
    dict(type='PlaceCrop', size=(128, 128, 128), margin=12, clip=True),
    dict(type='RandomFlip3D', axes=(0, 1, 2)),
    dict(type='RandomTransposeXY'),
    dict(type='RandomAffine3D', scale=(0.75, 1.3), scale_prob=0.4,
         degrees=25, rotate_prob=0.2),
    dict(type='LoadCrop'),
    dict(type='RandomGamma'),
    dict(type='RandomHUShiftScale'),
    dict(type='RandomNoise', prob=0.1),
    dict(type='RandomBlur', prob=0.1),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadCase', lung_margin_mm=8), dict(type='PackDetInputs')]
train_dataloader = dict(dataset=dict(background_ratio=0.67))
optim_wrapper = dict(optimizer=dict(nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, end=4,
         convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, begin=4, end=200, eta_min=0.0,
         convert_to_iter_based=True),
]
# averaged weights are tested instead of the last ones; their decay is
# min(0.999, about (1 + i) / (10 + i)) after i steps
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.001,
         gamma=10, update_buffers=True),
]
