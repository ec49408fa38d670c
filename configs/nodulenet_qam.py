"""QAM, the method's second row (published CPM 0.832); not trained yet.

Quartet attention in all sixteen residual blocks, everything else as BASE
(published CPM 0.782). docs/attention.md has what it costs.

    python tools/train.py configs/nodulenet_qam.py --amp
"""
_base_ = ['./nodulenet_base.py']
model = dict(
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='QuartetAttention'), position='after_conv2'),
        ]))
