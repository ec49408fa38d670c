"""Models Genesis pre-training of the plain backbone; not trained yet.

Distortions, probabilities and crop as published; L1 as the method's text
says. Different: the detector's window and spacing, its training folds only,
500 steps of the squared error first, without which L1 collapses, AdamW with a
cosine for SGD at a rate of 1, and eight fresh crops a scan and epoch.

    python tools/train.py configs/genesis_featurenet.py --amp

writes work_dirs/genesis_featurenet/backbone.safetensors, from which
nodulenet_mg.py starts.
"""
_base_ = [
    './_base_/models/restoration.py',
    './_base_/datasets/lung_crops.py',
    './_base_/schedules/adamw_100e.py',
    './_base_/pretraining_runtime.py',
]
