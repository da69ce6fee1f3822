# Method:   WSLD: soft labels weighted per image
# For:      cnn, cnn-transformer, self
#
# Temperature and weight of its code for CIFAR-100.
distill = dict(
    loss_wsld=dict(tap='logits', loss=dict(type='WSLDLoss', temperature=4.0, alpha=2.25)),
)
