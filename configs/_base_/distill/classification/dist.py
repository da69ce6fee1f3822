# Method:   DIST: correlation of the probabilities within and between images
# For:      cnn, cnn-transformer, self
#
# Temperature and weights of its code for CIFAR-100.
distill = dict(
    loss_dist=dict(
        tap='logits',
        loss=dict(type='DISTLoss', beta=1.0, gamma=1.0, temperature=4.0, loss_weight=2.0),
    ),
)
