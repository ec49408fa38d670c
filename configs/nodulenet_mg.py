"""BASE from a Models Genesis backbone; not trained yet.

    python tools/train.py configs/genesis_featurenet.py --amp
    python tools/train.py configs/nodulenet_mg.py --amp
"""
_base_ = ['./nodulenet_base.py']
pretrained = dict(
    weights='work_dirs/genesis_featurenet/backbone.safetensors',
    config='configs/genesis_featurenet.py')
