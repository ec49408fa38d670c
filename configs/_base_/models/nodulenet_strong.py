# Several positives a nodule with an ignored shell, focal loss over all other
# anchors, anchors from LUNA16's sizes (5 to 28 mm cover 99 %).
_base_ = ['./nodulenet.py']
model = dict(
    rpn_head=dict(
        anchor_generator=dict(sizes=(5, 8, 13, 22)),
        assigner=dict(
            _delete_=True, type='CenterAssigner3D', topk=5, ignore_k=25),
        sampler=dict(pos_per='all', num_neg=None),
        loss_cls=dict(
            _delete_=True, type='FocalLoss3D', alpha=0.75, gamma=2.0,
            loss_weight=4.0),
        prior=0.01),
    train_cfg=dict(
        proposals=dict(score_thr=0.05, nms_thr=0.1, nms_pre=1000,
                       max_num=100)))
