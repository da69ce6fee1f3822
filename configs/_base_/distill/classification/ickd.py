# Method:   ICKD-C: correlations between the channels of the last feature map
# For:      cnn
#
# Connector and weight of its code for CIFAR-100.
distill = dict(
    loss_ickd=dict(
        tap='last',
        same_size=False,
        connector=dict(type='ConvConnector'),
        loss=dict(type='ICKDLoss', loss_weight=2.5),
    ),
)
