# FCFD with WKD: kappa (sharpness) 1, the paper's value for R-50 to MobileNetV2.
_base_ = 'fcfd_wkd.py'

fcfd_wkd = dict(
    loss_wkd_l=dict(loss=dict(sharpness=1.0)),
    loss_wkd_l_st=dict(loss=dict(sharpness=1.0)),
    loss_wkd_l_ts=dict(loss=dict(sharpness=1.0)),
)
