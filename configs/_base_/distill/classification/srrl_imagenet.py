# Both weights are 1 on ImageNet.
_base_ = 'srrl.py'

distill = dict(loss_srrl=dict(loss=dict(beta=1.0)))
