# Method:   Zipf's LS: the other classes by the rank that the pixels of the last map give them
# For:      alone
#
# The weight of its code for CIFAR-100 and ImageNet.
distill = dict(
    loss_zipf=dict(tap='pooled_map', loss=dict(type='ZipfLoss', loss_weight=0.1)),
)
