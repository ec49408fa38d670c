"""lungdet_s.py with quartet attention in every residual block."""
_base_ = [
    './lungdet_s.py',
    './_base_/models/crop_windows.py',
    './_base_/plugins/quartet.py',
]
model = dict(
    backbone=dict(plugins=_base_.plugins),
    test_cfg=_base_._crop_windows)
