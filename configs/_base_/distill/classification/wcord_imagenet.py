# The same for the images of ImageNet.
_base_ = 'wcord.py'

distill = dict(loss_wcord=dict(loss=dict(num_samples=1281167)))
