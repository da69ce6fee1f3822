# Method:   NKD: the target class weighted by the teacher, the others normalised
# For:      cnn, cnn-transformer, self
#
# Temperature and gamma of its code for CIFAR-100.
distill = dict(
    loss_nkd=dict(tap='logits', loss=dict(type='NKDLoss', temperature=3.0, gamma=3.5)),
)
