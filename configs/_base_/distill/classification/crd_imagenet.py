# The same for the images of ImageNet.
_base_ = 'crd.py'

distill = dict(loss_crd=dict(loss=dict(num_samples=1281167)))
