# The weight of its code for ImageNet.
_base_ = 'mgd.py'

distill = dict(loss_mgd=dict(loss=dict(alpha=7e-5)))
