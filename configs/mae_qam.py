"""Masked-autoencoder pre-training with quartet attention; not trained yet.

Three quarters of the 16^3 blocks are hidden; crops of 64^3, since 32 x 64 x 64
would leave eight visible blocks; flips only.

    python tools/train.py configs/mae_qam.py --amp

writes work_dirs/mae_qam/backbone.safetensors, from which nodulenet_qam_mae.py
starts.
"""
_base_ = ['./genesis_featurenet.py', './_base_/plugins/quartet.py']
pipeline = [
    dict(type='LoadLungCrop', size=(64, 64, 64), max_tissue=0.15,
         min_lung=0.2),
    dict(type='RepeatedFlip3D', prob=0.4),
    dict(type='PackPair'),
]
model = dict(
    type='MaskedAutoencoder',
    backbone=dict(plugins=_base_.plugins),
    block=16,
    mask_ratio=0.75,
    fill='mean',
    loss=dict(type='MSELoss'))
