# ReviewKD with weight 2, the published one for R-50 to MobileNetV2.
_base_ = 'reviewkd.py'

loss_reviewkd = dict(loss=dict(loss_weight=2.0))
