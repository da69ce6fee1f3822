# Method:   FitNet: squared distance of FPN maps
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free, to-one-stage, from-maps
#
# FitNet: squared distance of the FPN maps P2 to P5 (mean over levels, pixels and channels) behind a
# 1 x 1 convolution, the regressor of the paper. It has no detector: the weight is our choice.
distill = dict(
    loss_fitnet=dict(
        tap='neck',
        levels=[0, 1, 2, 3],
        connector=dict(type='ConvConnector', kernel_size=1, norm_cfg=None),
        loss=dict(type='FitNetLoss', loss_weight=1.0),
    ),
)
