"""BASE, the method's first row (published CPM 0.782); not trained yet.

Published: architecture, five anchors, a border of 8 voxels around every
nodule, heads, SGD for 200 epochs, batch 16. Different: the defects of the
published code are repaired, boxes are cubes of the LUNA16 diameter in place of
those of the masks, and the border is taken off the detections.

    python tools/train.py configs/nodulenet_base.py --amp
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
]
# on a GPU: the fast layout, and its fastest kernels, which may round otherwise
# in every run
model = dict(channels_last=True)
env_cfg = dict(cudnn_benchmark=True)
