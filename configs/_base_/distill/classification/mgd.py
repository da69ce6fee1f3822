# Method:   MGD: the last feature map generated from a masked one
# For:      cnn
#
# Weight and share of masked values of its code for CIFAR-100.
distill = dict(
    loss_mgd=dict(tap='last', loss=dict(type='MGDLoss', ratio=0.15, alpha=1.2e-3)),
)
