# Method:   OFD: maps before the activation, where they make a difference
# For:      cnn
#
# Connectors and weight of its code for CIFAR-100.
distill = dict(
    loss_ofd=dict(
        tap='pyramid',
        modules='stages_before',
        connector=dict(type='ConvConnector', resize=True),
        loss=dict(type='OFDLoss', loss_weight=1e-3),
    ),
)
