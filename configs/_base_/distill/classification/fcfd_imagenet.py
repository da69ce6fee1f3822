# Temperature, weight and warm-up of its code for resnet34 to resnet18 on ImageNet.
_base_ = 'fcfd.py'

__logits = dict(temperature=1.0)
distill = dict(
    loss_fcfd_kd=dict(loss=__logits),
    loss_fcfd_app=dict(loss=dict(loss_weight=0.04)),
    loss_fcfd_crossed=dict(loss=__logits),
)
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_fcfd_app'], warm_up=5)]
