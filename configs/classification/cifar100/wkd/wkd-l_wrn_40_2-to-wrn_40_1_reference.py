# WKD-L, wrn_40_2 to wrn_40_1 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     wrn_40_2 (75.61 top-1 published by CRD) to wrn_40_1
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers;
#           class costs in data/wkd_cost/cifar100_wrn_40_2_linear_cka.pth, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-l_wrn_40_2-to-wrn_40_1_reference.py --amp
# Expected: not yet run; no published setting: hyper-parameters of resnet32x4-to-resnet8x4
_base_ = [
    '../baseline/wrn_40_1.py',
    '../../../_base_/teachers/cifar100_wrn_40_2.py',
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
                    path='data/wkd_cost/cifar100_wrn_40_2_linear_cka.pth',
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
work_dir = 'work_dirs/cifar100/wkd-l_wrn_40_2-to-wrn_40_1_reference'
