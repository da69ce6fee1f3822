# USKD, ResNet18 on CIFAR-100, without a teacher.
#
# Method:   USKD: the target class weighted, the others by rank, from two classifiers
# Pair:     ResNet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/uskd_resnet18-32px_self.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet18_self.py',
    '../../_base_/distill/classification/uskd.py',
]

model = dict(distill=_base_.pop('distill'))
