# WKD-L on the digits.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/wkd/wkd-l.py
# Expected: 91.0 +- 0.5 top-1 (mean of five seeds)
_base_ = [
    '../baseline/resnet8.py',
    '../../../_base_/teachers/digits.py',
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
                cost=dict(type='ClassifierCost'),
                temperature=4.0,
                sharpness=1.0,
                transport_weight=30.0,
            ),
        ),
    ),
)
work_dir = 'work_dirs/digits/wkd-l'
