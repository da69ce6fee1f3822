# KD, ResNet18 from its own first generation (Born-Again) on CIFAR-100.
#
# Method:   KD: Kullback-Leibler divergence of the class probabilities
# Pair:     ResNet18 to ResNet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); generation 0, trained first
#           (configs/classification/cifar100/baseline/resnet18.py)
# Command:  python tools/train.py \
#     configs/classification/cifar100/kd_resnet18-32px_born-again.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet18-to-resnet18_born-again.py',
    '../../_base_/distill/classification/kd.py',
]

model = dict(
    distill=_base_.pop('distill') | _base_.pop('settings').get('kd', {}),
    **_base_.pop('student'),
)
