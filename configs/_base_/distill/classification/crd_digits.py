# The memory of a hundred digits, ten of each.
_base_ = 'crd.py'

distill = dict(loss_crd=dict(loss=dict(num_samples=100, negatives=64)))
