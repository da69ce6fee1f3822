# Method:   FGFI: imitation of FPN maps near objects
# For:      two-stage, cascade, from-cascade, one-stage, gfl
#
# FGFI: squared distance of the FPN's feature vectors at locations near an object, behind a 3 x 3
# convolution a level. Threshold 0.5 is the paper's, weight 0.01 the default of its code.
distill = dict(
    loss_fgfi=dict(
        tap='imitation',
        threshold=0.5,
        connector=dict(type='ConvConnector', kernel_size=3, norm_cfg=None),
        loss=dict(type='FGFILoss', loss_weight=0.01),
    ),
)
