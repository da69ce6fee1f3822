# Method:   PKD: Pearson correlation of FPN maps
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free, to-one-stage
#
# PKD on the FPN maps P2 to P5, which have equal widths and need no connector. The published weight
# for Faster R-CNN is 6 for each of the four levels; a term takes their mean, hence 24.
distill = dict(
    loss_pkd=dict(
        tap='neck',
        levels=[0, 1, 2, 3],
        loss=dict(type='PKDLoss', loss_weight=24.0),
    ),
)
