# Zipf's LS, ResNet18 on CIFAR-100, without a teacher.
#
# Method:   Zipf's LS: the other classes by the rank that the pixels of the last map give them
# Pair:     ResNet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/zipf_resnet18-32px_self.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet18_self.py',
    '../../_base_/distill/classification/zipf.py',
]

model = dict(distill=_base_.pop('distill'))
