"""The NoduleNet authors' code, faults included; for comparison only.

One positive per crop, no negative without a positive, forced matches without
overlap, true boxes among validation proposals, unbounded decoding and
proposals, truncated mask boxes, raw component numbers as mask target: the
Published* classes of lungdet/models/detectors/nodulenet_reference.py.
Boxes (PublishedLoadCrop) are those of the masks and 8 voxels longer, and so
are the detections': subtract 8 from a size. A scan runs as a whole, its ends
padded with byte 0 (-1200 HU), and memory grows with it. Not trained yet.

Not reproduced: cases are prepared and crops resampled by lungdet, and
a detection's mask is that of the proposal's box (published: of the refined
one, in a separate list).
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
]
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='PublishedLoadCrop'),
    dict(type='PackDetInputs'),
]
model = dict(
    box_border=0,  # PublishedLoadCrop's boxes have it
    data_preprocessor=dict(pad_hu=-1200),
    rpn_head=dict(
        bbox_coder=dict(max_dlog=None), loss_cls=dict(min_hard=0)),
    roi_head=dict(
        type='PublishedRoIHead',
        bbox_head=dict(bbox_coder=dict(max_dlog=None)),
        mask_head=dict(type='PublishedMask3DHead')),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='PublishedAssigner3D'),
            sampler=dict(
                _delete_=True, type='PublishedAnchorSampler3D', num_neg=800),
            proposals=dict(nms_pre=None, max_num=None)),
        rcnn=dict(sampler=dict(type='PublishedRoISampler3D')),
        mask=dict(max_pos=None)),
    test_cfg=dict(
        window=None,
        rpn=dict(score_thr=0.5, nms_pre=None, max_num=None),
        mask=dict(score_thr=0.0, max_per_window=None),
        postprocess=dict(box_source='rpn', max_per_scan=None)))
