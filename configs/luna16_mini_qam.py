"""luna16_mini.py with quartet attention in every block."""
_base_ = ['./luna16_mini.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
