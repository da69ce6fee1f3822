# Method:   NST: second moments of the feature maps over the channels
# For:      cnn
#
# Stages and weight of the CRD benchmark.
distill = dict(
    loss_nst=dict(
        tap='stages', modules='stages', same_size=False, loss=dict(type='NSTLoss', loss_weight=50.0)
    ),
)
