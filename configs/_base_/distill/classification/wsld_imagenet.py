# Temperature and weight of its code for ImageNet.
_base_ = 'wsld.py'

distill = dict(loss_wsld=dict(loss=dict(temperature=2.0, alpha=2.5)))
