# Test windows of the size of a training crop, for backbones whose gates pool
# over the window. A window holds few nodules, so it needs fewer proposals and
# masks than a window of a whole lung.
_crop_windows = dict(
    window=(64, 64, 64),
    max_voxels=None,
    overlap=16,
    rpn=dict(nms_pre=400, max_num=64),
    mask=dict(max_per_window=8))
