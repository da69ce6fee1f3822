# As mdistiller trains on ImageNet: half of the cross entropy, temperature 1.
_base_ = 'kd.py'

student = dict(ce_weight=0.5)
distill = dict(loss_kd=dict(loss=dict(temperature=1.0, loss_weight=0.5)))
