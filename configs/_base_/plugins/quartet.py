# Quartet attention in all 16 residual blocks, of detection and pre-training:
# model = dict(backbone=dict(plugins=_base_.plugins))
plugins = [
    dict(
        cfg=dict(type='QuartetAttention'),
        position='after_conv2',
        stages=(True, ) * 6)
]
