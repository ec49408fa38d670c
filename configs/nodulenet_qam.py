"""QAM, the method's second row (published CPM 0.832); not trained yet.

Quartet attention in all sixteen residual blocks, everything else as in BASE
(published CPM 0.782). docs/attention.md has its cost.

    python tools/train.py configs/nodulenet_qam.py --amp
"""
_base_ = ['./nodulenet_base.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
