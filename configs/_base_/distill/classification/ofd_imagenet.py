# The weight of its code for ImageNet.
_base_ = 'ofd.py'

distill = dict(loss_ofd=dict(loss=dict(loss_weight=1e-4)))
