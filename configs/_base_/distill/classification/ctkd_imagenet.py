# As its code trains on ImageNet: both weights are 1, and the reversal grows over five epochs.
_base_ = 'ctkd.py'

student = dict(ce_weight=1.0)
distill = dict(loss_ctkd=dict(loss=dict(loss_weight=1.0)))
custom_hooks = [
    dict(type='TermScheduleHook', terms=['loss_ctkd.reversal'], warm_up=5, ramp='cosine')
]
