"""lungdet_s.py with quartet attention, from a Models Genesis backbone.

    python tools/train.py configs/genesis_s_qam.py --amp
    python tools/train.py configs/lungdet_s_qam_mg.py --amp
"""
_base_ = [
    './lungdet_s.py',
    './_base_/models/crop_windows.py',
    './_base_/plugins/quartet.py',
]
model = dict(
    backbone=dict(plugins=_base_.plugins),
    test_cfg=_base_._crop_windows)
pretrained = dict(
    weights='work_dirs/genesis_s_qam/backbone.safetensors',
    config='configs/genesis_s_qam.py')
