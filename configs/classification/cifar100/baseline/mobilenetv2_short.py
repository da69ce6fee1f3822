# MobileNetV2, plain student of another kind for the short trainings of CIFAR-100.
#
# Method:   plain training
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there, or cifar100.npz)
# Command:  python tools/train.py configs/classification/cifar100/baseline/mobilenetv2_short.py
# Expected: not yet run
_base_ = './wrn_10_2_short.py'

model = dict(
    network=dict(_delete_=True, type='CifarModel', name='MobileNetV2', num_classes=100),
)
optim_wrapper = dict(optimizer=dict(lr=0.2))
work_dir = 'work_dirs/cifar100/mobilenetv2_short'
