"""BASE, the method's first row (published CPM 0.782); not trained yet.

Published: architecture, five anchors, heads, SGD for 200 epochs, batch 16.
Different: the defects of the published code are repaired, and boxes are cubes
of the LUNA16 diameter without the published border of 8 voxels.

    python tools/train.py configs/nodulenet_base.py --amp
"""
_base_ = [
    './_base_/models/nodulenet.py',
    './_base_/datasets/luna16.py',
    './_base_/schedules/sgd_200e.py',
    './_base_/default_runtime.py',
]
