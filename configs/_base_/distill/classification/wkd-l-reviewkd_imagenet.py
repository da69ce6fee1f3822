# ReviewKD as on ImageNet: weight 1, no warm-up.
_base_ = 'wkd-l-reviewkd.py'

distill = dict(loss_reviewkd=dict(connector=dict(mid_channels=512), loss=dict(loss_weight=1.0)))
custom_hooks = []
