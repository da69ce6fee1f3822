# resnet18 of timm at 224 pixels, plain student of CIFAR-100.
#
# Method:   plain training, from random weights
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/baseline/resnet18_224.py --amp
# Expected: not yet run
_base_ = [
    '../../../_base_/models/classifier_imagenet.py',
    '../../../_base_/datasets/cifar100_224.py',
    '../../../_base_/schedules/cifar100_300e_sgd.py',
]

model = dict(
    network=dict(type='TimmModel', name='resnet18', num_classes=100),
)
work_dir = 'work_dirs/cifar100/resnet18_224'
