# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free, rtmdet, to-one-stage,
#           from-maps
#
# WKD-F on the FPN: P3 alone (index 1 of P2 ... P6) in 16 x 16 cells, the paper's best choice of
# levels; weight and gamma as on RoIs.
distill = dict(
    loss_wkd_f_fpn=dict(
        tap='neck',
        levels=[1],
        connector=dict(type='ConvConnector', kernel_size=3),
        loss=dict(type='WKDFeatureLoss', grid=16, mean_cov_ratio=2.0, loss_weight=5e-3),
    ),
)
