# As the reference code trains resnet50-to-mobilenetv1: a cosine decay after epoch 30.
_base_ = 'wkd-f.py'
custom_hooks = [dict(type='TermScheduleHook', decay_from=30)]
