"""lungdet_s.py with quartet attention in every residual block."""
_base_ = ['./lungdet_s.py', './_base_/plugins/quartet.py']
model = dict(
    backbone=dict(plugins=_base_.plugins),
    # the gates pool over a window, so it is as large as a training crop
    test_cfg=dict(window=(64, 64, 64), max_voxels=None, overlap=16))
