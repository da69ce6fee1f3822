# Method:   PKT: similarities between the images of a batch as probabilities
# For:      cnn, cnn-transformer, self
#
# Place and weight of the CRD benchmark.
distill = dict(
    loss_pkt=dict(tap='pool', loss=dict(type='PKTLoss', loss_weight=30000.0)),
)
