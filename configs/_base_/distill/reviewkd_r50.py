# ReviewKD with weight 1, the published one for.
_base_ = 'reviewkd.py'

loss_reviewkd = dict(loss=dict(loss_weight=1.0))
