# ICD for the photo scenes: a decoder as wide as the teacher's pyramid; the warm-up is a
# thirtieth of the 2400 iterations.
_base_ = 'icd.py'

distill = dict(loss_icd=dict(loss=dict(width=64, num_heads=4)))
custom_hooks = [
    dict(type='TermScheduleHook', terms=['loss_icd.loss_weight'], by_epoch=False, warm_up=80)
]
