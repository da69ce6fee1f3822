# The warm-up is as long a part of 12 epochs as 20 are of 240.
_base_ = 'fcfd.py'

custom_hooks = [dict(type='TermScheduleHook', terms=['loss_fcfd_app'], warm_up=1)]
