# An average of the weights is tested in place of the last ones; its decay is
# min(0.999, about (1 + i) / (10 + i)) after i steps.
_base_ = ['./default_runtime.py']
custom_hooks = _base_.custom_hooks + [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.001,
         gamma=10, update_buffers=True),
]
