# Half the weight in the first epoch: on average as much as while it grows over 20 of 240 epochs.
_base_ = 'dkd-lskd.py'

custom_hooks = [dict(type='TermScheduleHook', terms=['loss_dkd'], warm_up=2)]
