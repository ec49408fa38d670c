"""lungdet_s.py with CBAM in every residual block."""
_base_ = ['./lungdet_s.py']
model = dict(
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='CBAM3D', sigmoid='after'),
                position='after_conv2'),
        ]),
    # the gates pool over a window, so it is as large as a training crop
    test_cfg=dict(window=(64, 64, 64), max_voxels=None, overlap=16))
