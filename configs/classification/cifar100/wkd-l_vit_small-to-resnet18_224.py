# WKD-L, vit_small to resnet18 of timm on CIFAR-100 at 224 pixels.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     vit_small to resnet18
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the trained teacher
#           (configs/classification/cifar100/baseline/vit_small_224.py); class costs in
#           data/interrelation/cifar100_vit_small_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd-l_vit_small-to-resnet18_224.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_vit_small-to-resnet18_224.py',
    '../../_base_/distill/classification/wkd-l.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-l', {}))
