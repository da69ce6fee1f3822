# Method:   ICKD-C: correlations between the channels of FPN maps
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free, to-one-stage, from-maps
#
# ICKD-C on the FPN maps P2 to P5 (mean over levels), behind the 1 x 1 convolution with batch
# normalisation of the published code, and with its weight, 2.5, which is for CIFAR-100.
distill = dict(
    loss_ickd=dict(
        tap='neck',
        levels=[0, 1, 2, 3],
        connector=dict(type='ConvConnector', kernel_size=1),
        loss=dict(type='ICKDLoss', loss_weight=2.5),
    ),
)
