# resnet56, teacher of CIFAR-100.
#
# Method:   plain training
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/baseline/resnet56.py --amp
# Expected: not yet run; 72.34 top-1 published by CRD
_base_ = [
    '../../../_base_/models/classifier_cifar100.py',
    '../../../_base_/datasets/cifar100.py',
    '../../../_base_/schedules/cifar100_240e.py',
]

model = dict(network=dict(type='CifarModel', name='resnet56', num_classes=100))
work_dir = 'work_dirs/cifar100/resnet56'
