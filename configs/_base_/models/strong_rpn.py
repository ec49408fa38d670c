# What the strong recipe changes in the RPN of models/nodulenet.py: anchors
# from LUNA16's sizes (5 to 28 mm cover 99 %), focal loss over all anchors,
# several positives per nodule with an ignored shell:
# model = dict(rpn_head=_base_._strong_rpn_head,
#              train_cfg=dict(rpn=_base_._strong_rpn_training))
_strong_rpn_head = dict(
    anchor_generator=dict(sizes=(5, 8, 13, 22)),
    loss_cls=dict(
        _delete_=True, type='FocalLoss3D', alpha=0.75, gamma=2.0,
        loss_weight=4.0),
    prior=0.01)
_strong_rpn_training = dict(
    assigner=dict(
        _delete_=True, type='CenterAssigner3D', topk=5, ignore_k=25),
    sampler=dict(pos_per_gt=None, num_neg=None),
    proposals=dict(score_thr=0.05, nms_pre=1000, max_num=100))
