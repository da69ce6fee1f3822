# WKD-F, resnet32x4 to resnet8x4 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to resnet8x4
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the archive of CRD in
#           data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd-f_resnet32x4-to-resnet8x4_reference.py --amp
# Expected: not yet run; 76.77 top-1 published by the reference implementation
_base_ = [
    '../../_base_/pairs/cifar100_resnet32x4-to-resnet8x4_reference.py',
    '../../_base_/distill/classification/wkd-f.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f', {}))
