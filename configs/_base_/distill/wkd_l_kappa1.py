# WKD-L with kappa (sharpness) 1, the paper's value for R-50 to MobileNetV2.
_base_ = 'wkd_l.py'

loss_wkd_l = dict(loss=dict(sharpness=1.0))
