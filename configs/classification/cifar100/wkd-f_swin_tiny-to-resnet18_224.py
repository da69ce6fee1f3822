# WKD-F, swin_tiny to resnet18 of timm on CIFAR-100 at 224 pixels.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     swin_tiny to resnet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the trained teacher
#           (configs/classification/cifar100/baseline/swin_tiny_224.py)
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd-f_swin_tiny-to-resnet18_224.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_swin_tiny-to-resnet18_224.py',
    '../../_base_/distill/classification/wkd-f.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f', {}))
