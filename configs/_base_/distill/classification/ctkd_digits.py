# The warm-up counts iterations, as the training does, and is as long a part of it.
_base_ = 'ctkd.py'

custom_hooks = [
    dict(
        type='TermScheduleHook',
        terms=['loss_ctkd.reversal'],
        by_epoch=False,
        warm_up=5,
        ramp='cosine',
    )
]
