# NoduleNet with the published architecture, anchors, heads, and border of 8
# voxels around every nodule, for which the anchors and all thresholds of
# overlap were made. Repaired: detections are as large as the nodule again;
# every nodule of a crop has a positive anchor (published: one per crop);
# crops without a positive have negatives; mask boxes are not truncated;
# decoding cannot overflow; the number of proposals is bounded; each mask is
# trained on its nodule alone.
model = dict(
    type='NoduleNet',
    box_border=8,
    data_preprocessor=dict(type='CTDataPreprocessor', window=(-1200, 600)),
    backbone=dict(type='FeatureNet'),
    rpn_head=dict(
        type='RPN3DHead',
        anchor_generator=dict(
            type='AnchorGenerator3D', sizes=(5, 10, 20, 30, 50)),
        bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=4.0),
        loss_cls=dict(
            type='HardNegativeBCE', num_hard=3, min_hard=3, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1BoxLoss', loss_weight=1.0)),
    roi_head=dict(
        type='NoduleRoIHead',
        bbox_roi_extractor=dict(type='RoICrop3D', output_size=7),
        bbox_head=dict(
            type='BBox3DHead',
            bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=4.0),
            loss_cls=dict(type='BalancedCrossEntropy', loss_weight=1.0),
            loss_bbox=dict(type='SmoothL1BoxLoss', loss_weight=1.0)),
        mask_head=dict(
            type='Mask3DHead',
            norm_cfg=dict(type='IN3d', affine=True),
            loss_mask=dict(type='SoftDiceLoss', loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner3D', pos_iou=0.5, neg_iou=0.02),
            sampler=dict(type='AnchorSampler3D', pos_per_gt=1, num_neg=800),
            proposals=dict(
                score_thr=0.5, nms_thr=0.1, nms_pre=2000, max_num=300)),
        rcnn=dict(
            start_epoch=65,
            assigner=dict(
                type='MaxIoUAssigner3D', pos_iou=0.5, neg_iou=0.1,
                force_match=False),
            sampler=dict(type='RoISampler3D', num=64)),
        mask=dict(start_epoch=80, max_pos=4)),
    test_cfg=dict(
        window=(128, 128, 128),
        overlap=32,
        rpn=dict(score_thr=0.02, nms_thr=0.1, nms_pre=2000, max_num=60),
        mask=dict(score_thr=0.3, max_per_window=4),
        postprocess=dict(
            type='DetectionPostProcessor',
            box_source='rcnn',
            score_fusion='mean',
            nms=dict(iou_thr=0.1, center_distance=None),
            max_per_scan=100)))
