# Method:   TTM: the teacher's probabilities to a power, the student's as they are
# For:      cnn, cnn-transformer, self
#
# Exponent and weight that its code has for vgg13 to vgg8; those of other pairs are not published.
distill = dict(
    loss_ttm=dict(tap='logits', loss=dict(type='TTMLoss', exponent=0.1, loss_weight=45.0)),
)
