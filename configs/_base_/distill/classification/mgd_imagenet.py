# The weight of its code for ImageNet.
_base_ = 'mgd.py'

distill = dict(loss_mgd=dict(loss=dict(loss_weight=7e-5)))
