# Method:   CC: correlation between neighbours in a batch
# For:      cnn, cnn-transformer, self
#
# Place, width and weight of the CRD benchmark.
distill = dict(
    loss_cc=dict(tap='pool', loss=dict(type='CCLoss', loss_weight=0.02)),
)
