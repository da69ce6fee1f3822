# Method:   USKD: the target class weighted, the others by rank, from two classifiers
# For:      alone
#
# Weights of its code for CIFAR-100.
distill = dict(
    loss_uskd=dict(tap='second_last', loss=dict(type='USKDLoss', alpha=0.1, beta=0.1, mu=0.1)),
)
