# Pairs of CNN and Transformer at 224 pixels: temperature 2, kappa 1, gamma 2, one cell and a linear
# connector are the paper's; of the ranges that it searches (lambda 50 to 200, weight of WKD-F 0.01 to
# 0.08) a value in the middle.
__wkd_l = dict(loss=dict(temperature=2.0, sharpness=1.0, transport_weight=100.0))
__wkd_f = dict(
    connector=dict(type='ConvConnector', norm_cfg=None),
    loss=dict(grid=1, mean_cov_ratio=2.0, loss_weight=0.04),
)
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
}
