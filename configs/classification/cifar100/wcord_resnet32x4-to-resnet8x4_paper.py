# WCoRD, resnet32x4 to resnet8x4 on CIFAR-100, as the paper has it.
#
# Method:   WCoRD: contrast and transport between images, our reading
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to resnet8x4
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the archive of CRD in
#           data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wcord_resnet32x4-to-resnet8x4_paper.py --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/cifar100_resnet32x4-to-resnet8x4_paper.py',
    '../../_base_/distill/classification/wcord.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wcord', {}))
train_dataloader = dict(dataset=_base_.pop('train_dataset'))
