# Method:   SRRL: the student's features through the teacher's classifier
# For:      cnn
#
# Weights of its code: 1 for the features, 5 (CIFAR-100) for the logits.
distill = dict(
    loss_srrl=dict(
        tap='pooled_map',
        connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU'), resize=True),
        loss=dict(type='SRRLLoss', alpha=1.0, beta=5.0),
    ),
)
