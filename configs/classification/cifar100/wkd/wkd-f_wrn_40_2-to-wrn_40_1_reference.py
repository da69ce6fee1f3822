# WKD-F, wrn_40_2 to wrn_40_1 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     wrn_40_2 (75.61 top-1 published by CRD) to wrn_40_1
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_wrn_40_2-to-wrn_40_1_reference.py --amp
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
        loss_wkd_f=dict(
            tap='block3',
            connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
            loss=dict(type='WKDFeatureLoss', grid=1, mean_cov_ratio=4.0, loss_weight=0.08),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]
work_dir = 'work_dirs/cifar100/wkd-f_wrn_40_2-to-wrn_40_1_reference'
