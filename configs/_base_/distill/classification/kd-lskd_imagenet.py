# Its code leaves the cross entropy whole on ImageNet.
_base_ = 'kd-lskd.py'

student = dict(ce_weight=1.0)
