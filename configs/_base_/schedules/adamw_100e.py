# Pre-training: 100 epochs of AdamW, a warm-up and a cosine
train_cfg = dict(type='ExactEpochLoop', max_epochs=100, val_interval=5)
val_cfg = dict(type='ValLoop')
optim_wrapper = dict(
    constructor='MergedOptimWrapperConstructor',
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=500),
    dict(type='CosineAnnealingLR', T_max=100, eta_min_ratio=0.01,
         convert_to_iter_based=True),
]
