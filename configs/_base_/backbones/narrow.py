# FeatureNet at about a third of its width and one block in each stage, for
# runs of minutes on a CPU, of detection and pre-training:
# model = dict(backbone=_base_._narrow)
_narrow = dict(
    stem_channels=8,
    channels=(8, 24, 24, 24, 24, 24),
    blocks=(1, 1, 1, 1, 1, 1))
