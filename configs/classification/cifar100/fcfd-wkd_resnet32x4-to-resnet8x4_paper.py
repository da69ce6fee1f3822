# FCFD with WKD, resnet32x4 to resnet8x4 on CIFAR-100, as the paper has it.
#
# Method:   FCFD with WKD: FCFD with WKD-L for its divergences and WKD-F for its maps
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to resnet8x4
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the archive of CRD in
#           data/cifar_teachers; class costs in
#           data/interrelation/cifar100_resnet32x4_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/fcfd-wkd_resnet32x4-to-resnet8x4_paper.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet32x4-to-resnet8x4_paper.py',
    '../../_base_/distill/classification/fcfd-wkd.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('fcfd-wkd', {}))
