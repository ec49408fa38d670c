"""CBAM in every residual block; no published number, not trained yet.

The channel gate is the original's: one sigmoid after the sum of the MLP's two
outputs. The method's paper has a sigmoid on each: add sigmoid='before' to the
cfg. docs/attention.md has its cost.

    python tools/train.py configs/nodulenet_cbam.py --amp
"""
_base_ = ['./nodulenet_base.py']
model = dict(
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='CBAM3D', sigmoid='after'),
                position='after_conv2'),
        ]))
