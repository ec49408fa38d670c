"""BASE + quartet attention, pre-trained as a masked autoencoder; not trained
yet.

    python tools/train.py configs/mae_qam.py --amp
    python tools/train.py configs/nodulenet_qam_mae.py --amp
"""
_base_ = ['./nodulenet_base.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
pretrained = dict(
    weights='work_dirs/mae_qam/backbone.safetensors',
    config='configs/mae_qam.py')
