# Temperature and gamma of NKD's code for ImageNet.
_base_ = 'nkd-wkd-f.py'

distill = dict(loss_nkd=dict(loss=dict(temperature=1.0, gamma=1.5)))
