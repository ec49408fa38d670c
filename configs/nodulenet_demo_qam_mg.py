"""The demo's network with quartet attention, pre-trained by Models Genesis.

    python tools/train.py configs/genesis_demo.py --amp
    python tools/train.py configs/nodulenet_demo_qam_mg.py --amp
"""
_base_ = ['./nodulenet_demo.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
pretrained = dict(
    weights='work_dirs/genesis_demo/backbone.safetensors',
    config='configs/genesis_demo.py')
