# Method:   NST: second moments of FPN maps over the channels
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free, to-one-stage
#
# NST with the polynomial kernel on the FPN maps P2 to P5 (mean over levels), which have equal
# widths and need no connector. Weight 50 as in the CRD benchmark on CIFAR-100.
distill = dict(
    loss_nst=dict(
        tap='neck',
        levels=[0, 1, 2, 3],
        loss=dict(type='NSTLoss', loss_weight=50.0),
    ),
)
