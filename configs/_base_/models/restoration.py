# The detector's own backbone and window, and a head that restores crops.
_base_ = ['./nodulenet.py']
model = dict(
    _delete_=True,
    type='GenesisPretrainer',
    data_preprocessor=dict(
        type='RestorationPreprocessor',
        window=_base_.model.data_preprocessor.window),
    backbone=_base_.model.backbone,
    head=dict(type='RestorationHead', channels=(64, 64)),
    loss='l1')
