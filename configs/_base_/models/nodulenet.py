# NoduleNet as published in architecture, anchors and heads; repaired: every
# nodule of a crop has a positive (published: one for the crop), negatives
# without any positive, the end of a mask box, decoding without overflow,
# proposals bounded, a mask trained on its own nodule.
model = dict(
    type='NoduleNet',
    data_preprocessor=dict(type='CTDataPreprocessor', window=(-1200, 600)),
    backbone=dict(type='FeatureNet'),
    rpn_head=dict(
        type='RPN3DHead',
        anchor_generator=dict(
            type='AnchorGenerator3D', sizes=(5, 10, 20, 30, 50)),
        assigner=dict(type='MaxIoUAssigner3D', pos_iou=0.5, neg_iou=0.02),
        sampler=dict(type='AnchorSampler3D', pos_per='gt', num_neg=800),
        loss_cls=dict(type='HardNegativeBCE', num_hard=3, min_hard=3)),
    rcnn_head=dict(type='RCNN3DHead'),
    mask_head=dict(type='Mask3DHead'),
    train_cfg=dict(stage_epochs=dict(rcnn=65, mask=80)),
    test_cfg=dict(window=(128, 128, 128), overlap=32))
