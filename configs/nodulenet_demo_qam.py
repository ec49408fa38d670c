"""The demo's network with quartet attention in every block."""
_base_ = ['./nodulenet_demo.py', './_base_/plugins/quartet.py']
model = dict(backbone=dict(plugins=_base_.plugins))
