"""The published NoduleNet, faults included; a measure, not advice.

One positive a crop, no negative without a positive, forced matches without
overlap, true boxes among validation proposals, unbounded decoding and
proposals, truncated mask boxes, raw component numbers as mask target.
Boxes are those of the masks and 8 voxels longer, and so are those found:
subtract 8 from a size. A scan is seen whole, its ends padded with byte 0
(-1200 HU), and memory grows with it. Not trained yet.

Not literal: cases are prepared and crops resampled by lungdet's own way, and
a mark's mask is that of its own box (published: of the refined one, in a
list of its own).
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
]
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='LoadCrop', box_source='mask', border=8),
    dict(type='PackDetInputs'),
]
model = dict(
    data_preprocessor=dict(pad_hu=-1200),
    rpn_head=dict(
        bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=None),
        assigner=dict(force_without_overlap=True),
        sampler=dict(pos_per='crop'),
        loss_cls=dict(min_hard=0)),
    rcnn_head=dict(
        bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=None),
        add_gt='always'),
    mask_head=dict(target='component', boxes='truncated'),
    train_cfg=dict(
        proposals=dict(nms_pre=None, max_num=None),
        mask_from='detections',
        max_mask_pos=None),
    test_cfg=dict(
        window=None,
        proposals=dict(score_thr=0.5, nms_pre=None, max_num=None),
        max_per_scan=None,
        box_source='rpn',
        mask=dict(score_thr=0.0, max_per_window=None)))
