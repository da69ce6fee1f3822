# WKD-L, resnet32x4 to resnet8x4 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to resnet8x4
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers;
#           class costs in data/wkd_cost/cifar100_resnet32x4_linear_cka.pth, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-l_resnet32x4-to-resnet8x4_reference.py --amp
# Expected: not yet run; 76.53 top-1 published by the reference implementation
_base_ = [
    '../baseline/resnet8x4.py',
    '../../../_base_/teachers/cifar100_resnet32x4.py',
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
                    path='data/wkd_cost/cifar100_resnet32x4_linear_cka.pth',
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
work_dir = 'work_dirs/cifar100/wkd-l_resnet32x4-to-resnet8x4_reference'
