# As on ImageNet: weight 1, no warm-up.
_base_ = 'reviewkd.py'

distill = dict(loss_reviewkd=dict(loss=dict(loss_weight=1.0)))
custom_hooks = []
