# OFA, convnext_tiny to swin_pico of timm on CIFAR-100 at 224 pixels.
#
# Method:   OFA: branches of class logits from every stage
# Pair:     convnext_tiny to swin_pico
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the trained teacher
#           (configs/classification/cifar100/baseline/convnext_tiny_224.py)
# Command:  python tools/train.py \
#     configs/classification/cifar100/ofa_convnext_tiny-to-swin_pico_224.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_convnext_tiny-to-swin_pico_224.py',
    '../../_base_/distill/classification/ofa.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('ofa', {}))
