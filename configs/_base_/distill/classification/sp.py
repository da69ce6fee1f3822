# Method:   SP: similarities between the images of a batch, in the last feature map
# For:      cnn, cnn-transformer, self
#
# Place and weight of the CRD benchmark.
distill = dict(
    loss_sp=dict(tap='last', same_size=False, loss=dict(type='SPLoss', loss_weight=3000.0)),
)
