# As the code of Zipf's LS runs it for ResNet-50: weight 0.1, next to the whole cross entropy.
_base_ = 'tfkd.py'

student = dict(ce_weight=1.0)
distill = dict(loss_tfkd=dict(loss=dict(multiplier=1.0)))
