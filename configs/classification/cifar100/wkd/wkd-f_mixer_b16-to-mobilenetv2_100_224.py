# WKD-F, mixer_b16 to mobilenetv2_100 of timm on CIFAR-100 at 224 pixels.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     mixer_b16 to mobilenetv2_100
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the trained teacher (configs/classification/cifar100/baseline/mixer_b16_224.py)
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_mixer_b16-to-mobilenetv2_100_224.py --amp
# Expected: not yet run; the paper searches a weight of 0.01, 0.02, 0.04, 0.08
_base_ = [
    '../baseline/mobilenetv2_100_224.py',
    '../../../_base_/teachers/cifar100_mixer_b16_224.py',
]

model = dict(
    type='DistilledClassifier',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='blocks.6',
            teacher_tap='blocks.11',
            same_size=False,
            connector=dict(type='ConvConnector', norm_cfg=None),
            loss=dict(type='WKDFeatureLoss', grid=1, mean_cov_ratio=2.0, loss_weight=0.04),
        ),
    ),
)
work_dir = 'work_dirs/cifar100/wkd-f_mixer_b16-to-mobilenetv2_100_224'
