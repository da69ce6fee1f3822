# WKD-F, resnet32x4 to resnet8x4 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to resnet8x4
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_resnet32x4-to-resnet8x4_reference.py --amp
# Expected: not yet run; 76.77 top-1 published by the reference implementation
_base_ = [
    '../baseline/resnet8x4.py',
    '../../../_base_/teachers/cifar100_resnet32x4.py',
]

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='layer3',
            connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
            loss=dict(type='WKDFeatureLoss', grid=1, mean_cov_ratio=4.0, loss_weight=0.08),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]
work_dir = 'work_dirs/cifar100/wkd-f_resnet32x4-to-resnet8x4_reference'
