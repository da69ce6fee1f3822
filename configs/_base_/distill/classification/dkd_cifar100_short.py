# The warm-up is as long a part of 12 epochs as 20 are of 240.
_base_ = 'dkd.py'

custom_hooks = [dict(type='TermScheduleHook', terms=['loss_dkd'], warm_up=1)]
