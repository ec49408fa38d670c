# FeatureNet at half its width, of detection and pre-training:
# model = dict(backbone=_base_._half)
_half = dict(
    stem_channels=12,
    channels=(16, 32, 32, 32, 32, 32))
