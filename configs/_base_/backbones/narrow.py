# FeatureNet at a tenth of its width and one block a stage, for runs of
# minutes on a CPU. The detector and its pre-training take it from here:
# model = dict(backbone=_base_._narrow)
_narrow = dict(
    stem_channels=8,
    channels=(8, 24, 24, 24, 24, 24),
    blocks=(1, 1, 1, 1, 1, 1))
