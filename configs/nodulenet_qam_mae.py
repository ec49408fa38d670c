"""BASE + quartet attention, pre-trained as a masked autoencoder; not trained
yet.

    python tools/train.py configs/mae_qam.py --amp
    python tools/train.py configs/nodulenet_qam_mae.py --amp
"""
_base_ = ['./nodulenet_qam_mg.py']
pretrained = dict(
    weights='work_dirs/mae_qam/backbone.safetensors',
    config='configs/mae_qam.py')
