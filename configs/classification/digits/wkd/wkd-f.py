# WKD-F on the digits.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/wkd/wkd-f.py
# Expected: 93.9 +- 0.2 top-1 (mean of five seeds)
_base_ = [
    '../baseline/resnet8.py',
    '../../../_base_/teachers/digits.py',
]

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='layer3',
            connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
            loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=0.05),
        ),
    ),
)
work_dir = 'work_dirs/digits/wkd-f'
