# Half the reversal in the first epoch, about as long a part of 12 as ten are of 240.
_base_ = 'ctkd.py'

custom_hooks = [
    dict(type='TermScheduleHook', terms=['loss_ctkd.reversal'], warm_up=2, ramp='cosine')
]
