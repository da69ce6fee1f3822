# Half the weight in the first epoch: on average as much as while it grows over 20 of 240 epochs.
_base_ = 'fcfd.py'

custom_hooks = [dict(type='TermScheduleHook', terms=['loss_fcfd_app'], warm_up=2)]
