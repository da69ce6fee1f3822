# WKD-L + WKD-F, vgg13 to MobileNetV2 on CIFAR-100, as the paper has it.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     vgg13 (74.64 top-1 published by CRD) to MobileNetV2
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the archive of CRD in
#           data/cifar_teachers; class costs in data/interrelation/cifar100_vgg13_cka.safetensors,
#           see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd-lf_vgg13-to-mobilenetv2_paper.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_vgg13-to-mobilenetv2_paper.py',
    '../../_base_/distill/classification/wkd-lf.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-lf', {}))
