# WKD-F, convnext_tiny to swin_pico of timm on CIFAR-100 at 224 pixels.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     convnext_tiny to swin_pico
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the trained teacher (configs/classification/cifar100/baseline/convnext_tiny_224.py)
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_convnext_tiny-to-swin_pico_224.py --amp
# Expected: not yet run; the paper searches a weight of 0.01, 0.02, 0.04, 0.08
_base_ = [
    '../baseline/swin_pico_224.py',
    '../../../_base_/teachers/cifar100_convnext_tiny_224.py',
]

model = dict(
    type='DistilledClassifier',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='layers.3',
            teacher_tap='stages.3',
            connector=dict(type='ConvConnector', norm_cfg=None),
            loss=dict(type='WKDFeatureLoss', grid=1, mean_cov_ratio=2.0, loss_weight=0.04),
        ),
    ),
)
work_dir = 'work_dirs/cifar100/wkd-f_convnext_tiny-to-swin_pico_224'
