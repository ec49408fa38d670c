"""luna16_mini.py with quartet attention, from a Models Genesis backbone.

    python tools/ablate.py configs/luna16_mini.py \
      configs/luna16_mini_qam.py configs/luna16_mini_qam_mg.py \
      --folds series --cfg-options data_root=CASES

pre-trains on the two training scans of each fold.
"""
_base_ = ['./luna16_mini.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
pretrained = dict(
    weights='work_dirs/genesis_mini/backbone.safetensors',
    config='configs/genesis_mini.py')
