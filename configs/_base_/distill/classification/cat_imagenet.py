# Weight and resolution of its code for resnet34 to resnet18 on ImageNet.
_base_ = 'cat.py'

distill = dict(loss_cat=dict(loss=dict(resolution=4, loss_weight=0.5)))
