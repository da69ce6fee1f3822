# WKD-L, vgg13 to vgg8 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     vgg13 (74.64 top-1 published by CRD) to vgg8
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers;
#           class costs in data/interrelation/cifar100_vgg13_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-l_vgg13-to-vgg8_reference.py --amp
# Expected: not yet run; no published setting: hyper-parameters of resnet32x4-to-resnet8x4
_base_ = [
    '../baseline/vgg8.py',
    '../../../_base_/teachers/cifar100_vgg13.py',
]

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_l=dict(
            tap='logits',
            loss=dict(
                type='WKDLogitLoss',
                cost=dict(
                    type='FileCost',
                    path='data/interrelation/cifar100_vgg13_cka.safetensors',
                    by_position=True,
                ),
                temperature=8.0,
                sharpness=1.0,
                transport_weight=600.0,
            ),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]
work_dir = 'work_dirs/cifar100/wkd-l_vgg13-to-vgg8_reference'
