"""Models Genesis pre-training with quartet attention; not trained yet.

    python tools/train.py configs/genesis_qam.py --amp

writes work_dirs/genesis_qam/backbone.safetensors, from which
nodulenet_qam_mg.py starts.
"""
_base_ = ['./genesis_featurenet.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
