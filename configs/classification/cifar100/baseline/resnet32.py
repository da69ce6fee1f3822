# resnet32, plain student of CIFAR-100.
#
# Method:   plain training
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/baseline/resnet32.py --amp
# Expected: not yet run
_base_ = [
    '../../../_base_/models/classifier_cifar100.py',
    '../../../_base_/datasets/cifar100.py',
    '../../../_base_/schedules/cifar100_240e.py',
]

model = dict(network=dict(type='CifarModel', name='resnet32', num_classes=100))
work_dir = 'work_dirs/cifar100/resnet32'
