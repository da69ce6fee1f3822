# The warm-up counts iterations, as the training does, and is as long a part of it.
_base_ = 'dkd-lskd.py'

custom_hooks = [dict(type='TermScheduleHook', terms=['loss_dkd'], by_epoch=False, warm_up=10)]
