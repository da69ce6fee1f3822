# Label smoothing, resnet8 on the digits of scikit-learn, without a teacher.
#
# Method:   Label smoothing: nine tenths for the label, the rest for the other classes
# Pair:     resnet8
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/label-smoothing_alone.py
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/digits-alone_120i.py',
    '../../_base_/distill/classification/label-smoothing.py',
]

model = dict(
    distill=_base_.pop('distill'),
    **_base_.pop('student'),
)
