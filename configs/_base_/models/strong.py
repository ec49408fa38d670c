# What the strong recipe changes in models/nodulenet.py. Anchors are from
# LUNA16's sizes (5 to 28 mm cover 99 %), with focal loss over all of them and
# several positives per nodule with an ignored shell. Boxes are as large as the
# nodules, so nothing is decided by overlap: RoIs are matched by the distance
# of their centres and pooled with 8 voxels of surroundings, and marks of one
# nodule are merged by distance as well.
# model = dict(
#     box_border=0,
#     rpn_head=_base_._strong_rpn_head,
#     roi_head=dict(border=8),
#     train_cfg=dict(
#         rpn=_base_._strong_rpn_training,
#         rcnn=dict(assigner=_base_._strong_roi_assigner)),
#     test_cfg=dict(postprocess=dict(nms=_base_._strong_nms)))
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
_strong_roi_assigner = dict(
    _delete_=True, type='DistanceAssigner3D', reach=2.5, margin=4.0)
_strong_nms = dict(center_distance=4.0, center_radii=1.0)
