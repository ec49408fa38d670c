"""The published NoduleNet's model, faults included; a measure, not advice.

One positive a crop, no negative without a positive, forced matches without
overlap, true boxes among validation proposals, unbounded decoding and
proposals, truncated mask boxes, raw component numbers as mask target.
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
]
model = dict(
    rpn_head=dict(
        bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=None),
        assigner=dict(force_without_overlap=True),
        sampler=dict(pos_per='crop'),
        loss_cls=dict(min_hard=0)),
    rcnn_head=dict(
        bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=None),
        add_gt='always'),
    mask_head=dict(target='component'),
    train_cfg=dict(
        proposals=dict(nms_pre=None, max_num=None),
        mask_from='detections',
        max_mask_pos=None,
        truncate_mask_boxes=True),
    test_cfg=dict(
        proposals=dict(score_thr=0.5, nms_pre=None, max_num=None),
        box_source='rpn'))
