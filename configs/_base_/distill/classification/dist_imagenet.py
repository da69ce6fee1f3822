# Temperature of its code for ImageNet.
_base_ = 'dist.py'

distill = dict(loss_dist=dict(loss=dict(temperature=1.0)))
