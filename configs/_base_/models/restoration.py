# The detector's backbone and HU window, and a head that restores crops.
model = dict(
    type='GenesisPretrainer',
    data_preprocessor=dict(
        type='RestorationPreprocessor', window=(-1200, 600)),
    backbone=dict(type='FeatureNet'),
    head=dict(type='RestorationHead', channels=(64, 64)),
    loss=dict(type='L1Loss'))
