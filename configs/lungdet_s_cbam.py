"""lungdet_s.py with CBAM in every residual block."""
_base_ = ['./lungdet_s.py', './_base_/models/crop_windows.py']
model = dict(
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='CBAM3D', sigmoid='after'),
                position='after_conv2'),
        ]),
    test_cfg=_base_._crop_windows)
