"""lungdet_s.py from a Models Genesis backbone.

    python tools/train.py configs/genesis_s.py --amp
    python tools/train.py configs/lungdet_s_mg.py --amp
"""
_base_ = ['./lungdet_s.py']
pretrained = dict(
    weights='work_dirs/genesis_s/backbone.safetensors',
    config='configs/genesis_s.py')
