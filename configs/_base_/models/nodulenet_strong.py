# NoduleNet with the strong recipe: several positives per nodule with an
# ignored shell, focal loss over all other anchors, anchors from LUNA16's sizes
# (5 to 28 mm cover 99 %).
model = dict(
    type='NoduleNet',
    data_preprocessor=dict(type='CTDataPreprocessor', window=(-1200, 600)),
    backbone=dict(type='FeatureNet'),
    rpn_head=dict(
        type='RPN3DHead',
        anchor_generator=dict(type='AnchorGenerator3D', sizes=(5, 8, 13, 22)),
        bbox_coder=dict(type='DeltaBoxCoder3D', max_dlog=4.0),
        loss_cls=dict(
            type='FocalLoss3D', alpha=0.75, gamma=2.0, loss_weight=4.0),
        loss_bbox=dict(type='SmoothL1BoxLoss', loss_weight=1.0),
        prior=0.01),
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
            assigner=dict(type='CenterAssigner3D', topk=5, ignore_k=25),
            sampler=dict(
                type='AnchorSampler3D', pos_per_gt=None, num_neg=None),
            proposals=dict(
                score_thr=0.05, nms_thr=0.1, nms_pre=1000, max_num=100)),
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
