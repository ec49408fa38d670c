# NoduleNet on the strong recipe: several positives a nodule with an ignored
# shell, focal loss over all other anchors, anchors from LUNA16's sizes (5 to
# 28 mm cover 99 %).
model = dict(
    type='NoduleNet',
    data_preprocessor=dict(type='CTDataPreprocessor', window=(-1200, 600)),
    backbone=dict(type='FeatureNet'),
    rpn_head=dict(
        type='RPN3DHead',
        anchor_generator=dict(type='AnchorGenerator3D', sizes=(5, 8, 13, 22)),
        assigner=dict(type='CenterAssigner3D', topk=5, ignore_k=25),
        sampler=dict(type='AnchorSampler3D', pos_per='all', num_neg=None),
        loss_cls=dict(
            type='FocalLoss3D', alpha=0.75, gamma=2.0, loss_weight=4.0),
        prior=0.01),
    rcnn_head=dict(type='RCNN3DHead'),
    mask_head=dict(type='Mask3DHead'),
    train_cfg=dict(
        stage_epochs=dict(rcnn=65, mask=80),
        proposals=dict(
            score_thr=0.05, nms_thr=0.1, nms_pre=1000, max_num=100)),
    test_cfg=dict(window=(128, 128, 128), overlap=32))
