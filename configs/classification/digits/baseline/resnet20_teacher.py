# Teacher of the digits: a deeper network, all training digits, twice the steps.
#
# Method:   plain training
# Pair:     none; resnet20 of the CIFAR networks
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/baseline/resnet20_teacher.py
# Expected: 97.0 top-1 (one seed)
_base_ = 'resnet8.py'

model = dict(network=dict(name='resnet20'))
train_dataloader = dict(dataset=dict(per_class=None))
optim_wrapper = dict(optimizer=dict(lr=0.1))

max_iters = 240
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
work_dir = 'work_dirs/digits/resnet20_teacher'
