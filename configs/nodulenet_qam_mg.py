"""BASE + quartet attention + Models Genesis: the method's best row.

Published CPM 0.846 as printed; the row's seven values average 0.851. Not
trained yet.

    python tools/train.py configs/genesis_qam.py --amp
    python tools/train.py configs/nodulenet_qam_mg.py --amp
"""
_base_ = ['./nodulenet_base.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
pretrained = dict(
    weights='work_dirs/genesis_qam/backbone.safetensors',
    config='configs/genesis_qam.py')
