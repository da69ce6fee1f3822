# WKD-L + WKD-F, wrn_40_2 to ShuffleV1 on CIFAR-100, as the paper has it.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     wrn_40_2 (75.61 top-1 published by CRD) to ShuffleV1
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the archive of CRD in
#           data/cifar_teachers; class costs in
#           data/interrelation/cifar100_wrn_40_2_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd-lf_wrn_40_2-to-shufflev1_paper.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_wrn_40_2-to-shufflev1_paper.py',
    '../../_base_/distill/classification/wkd-lf.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-lf', {}))
