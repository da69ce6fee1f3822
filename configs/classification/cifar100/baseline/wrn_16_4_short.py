# wrn_16_4 behind a stem of stride 2, teacher of the short trainings of CIFAR-100: 20 epochs.
# Fourteen of them are at 24 pixels, which is half the work.
#
# Method:   plain training
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there, or cifar100.npz)
# Command:  python tools/train.py configs/classification/cifar100/baseline/wrn_16_4_short.py
# Expected: 65.2 top-1 on 5,000 training images held out, one seed (studies/cifar100.py)
_base_ = './wrn_10_2_short.py'

model = dict(network=dict(depth=16, widen_factor=4))
val_dataloader = dict(dataset=dict(split='val'))

max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
custom_hooks = [dict(type='ImageSizeHook', sizes=[(0, 24), (14, 32)])]
_warm_up, _decay = _base_.pop('param_scheduler')
param_scheduler = [_warm_up, dict(_decay, end=max_epochs)]
optim_wrapper = dict(optimizer=dict(lr=0.2))
work_dir = 'work_dirs/cifar100/wrn_16_4_short'
