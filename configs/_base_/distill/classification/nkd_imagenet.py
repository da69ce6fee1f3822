# Temperature and gamma of its code for ImageNet.
_base_ = 'nkd.py'

distill = dict(loss_nkd=dict(loss=dict(temperature=1.0, gamma=1.5)))
