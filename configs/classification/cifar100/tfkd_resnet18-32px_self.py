# Tf-KD, ResNet18 on CIFAR-100, without a teacher.
#
# Method:   Tf-KD: a virtual teacher that is right in 99 of 100 cases
# Pair:     ResNet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/tfkd_resnet18-32px_self.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet18_self.py',
    '../../_base_/distill/classification/tfkd.py',
]

model = dict(
    distill=_base_.pop('distill'),
    **_base_.pop('student'),
)
