# As the reference code trains resnet50-to-mobilenetv1: a cosine decay from the start.
_base_ = 'wkd-l.py'
custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]
