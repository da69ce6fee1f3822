# As mdistiller trains resnet34 to resnet18 on ImageNet.
_base_ = 'dkd.py'

distill = dict(loss_dkd=dict(loss=dict(beta=0.5, temperature=1.0)))
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_dkd'], warm_up=1)]
