# Method:   EMD + IPOT: transport between the images of a batch, our reading
# For:      cnn, cnn-transformer, self
#
# No code is public. Place and weight are ours.
distill = dict(
    loss_ipot=dict(
        tap='pool',
        connector=dict(type='ConvConnector', norm_cfg=None),
        loss=dict(type='IPOTLoss', loss_weight=1.0),
    ),
)
