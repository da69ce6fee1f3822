# Weights of its code for ImageNet.
_base_ = 'uskd.py'

distill = dict(loss_uskd=dict(loss=dict(alpha=1.0, beta=0.1, mu=0.005)))
