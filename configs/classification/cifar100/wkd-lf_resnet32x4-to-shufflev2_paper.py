# WKD-L + WKD-F, resnet32x4 to ShuffleV2 on CIFAR-100, as the paper has it.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to ShuffleV2
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the archive of CRD in
#           data/cifar_teachers; class costs in
#           data/interrelation/cifar100_resnet32x4_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd-lf_resnet32x4-to-shufflev2_paper.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet32x4-to-shufflev2_paper.py',
    '../../_base_/distill/classification/wkd-lf.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-lf', {}))
