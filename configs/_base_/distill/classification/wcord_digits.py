# The memory of a hundred digits, ten of each.
_base_ = 'wcord.py'

distill = dict(loss_wcord=dict(loss=dict(num_samples=100, negatives=64)))
