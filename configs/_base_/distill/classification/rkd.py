# Method:   RKD: distances and angles between the images of a batch
# For:      cnn, cnn-transformer, self
#
# Place and weights of the CRD benchmark.
distill = dict(
    loss_rkd=dict(tap='pool', loss=dict(type='RKDLoss', distance_weight=25.0, angle_weight=50.0)),
)
