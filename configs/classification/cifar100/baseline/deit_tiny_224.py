# deit_tiny of timm at 224 pixels, plain student of CIFAR-100.
#
# Method:   plain training, from random weights
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/baseline/deit_tiny_224.py --amp
# Expected: not yet run
_base_ = [
    '../../../_base_/models/classifier_imagenet.py',
    '../../../_base_/datasets/cifar100_224.py',
    '../../../_base_/schedules/cifar100_300e_adamw.py',
]

model = dict(
    network=dict(type='TimmModel', name='deit_tiny_patch16_224', num_classes=100),
)
work_dir = 'work_dirs/cifar100/deit_tiny_224'
