# Method:   AT: where the feature maps are large
# For:      cnn
#
# Stages and weight of the CRD benchmark.
distill = dict(
    loss_at=dict(
        tap='stages',
        modules='stages',
        same_size=False,
        loss=dict(type='ATLoss', loss_weight=1000.0),
    ),
)
