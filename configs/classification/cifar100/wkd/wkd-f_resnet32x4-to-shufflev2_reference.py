# WKD-F, resnet32x4 to ShuffleV2 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to ShuffleV2
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_resnet32x4-to-shufflev2_reference.py --amp
# Expected: not yet run; no published setting: hyper-parameters of wrn_40_2-to-shufflev1
_base_ = [
    '../baseline/shufflev2.py',
    '../../../_base_/teachers/cifar100_resnet32x4.py',
]

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='layer3',
            connector=dict(type='TransposedConvConnector'),
            loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=3.0, loss_weight=0.3),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]
work_dir = 'work_dirs/cifar100/wkd-f_resnet32x4-to-shufflev2_reference'
