# Faster R-CNN R-50 to MobileNetV2: kappa (sharpness) 1 is the WKD paper's value for this pair, weight
# 2 that of ReviewKD's.
__wkd_l = dict(loss=dict(sharpness=1.0))
__reviewkd = dict(loss=dict(loss_weight=2.0))
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-lf': dict(loss_wkd_l=__wkd_l),
    'wkd-lf-box': dict(loss_wkd_l=__wkd_l),
    'reviewkd': dict(loss_reviewkd=__reviewkd),
    'dkd-reviewkd': dict(loss_reviewkd=__reviewkd),
    'reviewkd-wkd': dict(loss_reviewkd=__reviewkd, loss_wkd_l=__wkd_l),
    'fcfd-wkd': dict(loss_wkd_l=__wkd_l, loss_wkd_l_st=__wkd_l, loss_wkd_l_ts=__wkd_l),
}
