# WKD-L + WKD-F, wrn_40_2 to ShuffleV1 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     wrn_40_2 (75.61 top-1 published by CRD) to ShuffleV1
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers;
#           class costs in data/wkd_cost/cifar100_wrn_40_2_linear_cka.pth, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-lf_wrn_40_2-to-shufflev1_reference.py --amp
# Expected: not yet run; 77.50 top-1 published by the reference implementation
_base_ = [
    '../baseline/shufflev1.py',
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
                temperature=4.0,
                sharpness=1.0,
                transport_weight=60.0,
            ),
        ),
        loss_wkd_f=dict(
            tap='layer3',
            teacher_tap='block3',
            connector=dict(type='TransposedConvConnector'),
            loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=3.0, loss_weight=0.5),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]
work_dir = 'work_dirs/cifar100/wkd-lf_wrn_40_2-to-shufflev1_reference'
