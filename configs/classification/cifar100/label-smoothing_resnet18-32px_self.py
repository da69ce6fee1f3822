# Label smoothing, ResNet18 on CIFAR-100, without a teacher.
#
# Method:   Label smoothing: nine tenths for the label, the rest for the other classes
# Pair:     ResNet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py \
#     configs/classification/cifar100/label-smoothing_resnet18-32px_self.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet18_self.py',
    '../../_base_/distill/classification/label-smoothing.py',
]

model = dict(
    distill=_base_.pop('distill'),
    **_base_.pop('student'),
)
