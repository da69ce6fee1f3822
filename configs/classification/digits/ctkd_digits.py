# KD + CTKD, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   KD + CTKD: KD at a temperature that is trained against the student
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/ctkd_digits.py
# Expected: not yet run
_base_ = ['../../_base_/pairs/digits_120i.py', '../../_base_/distill/classification/ctkd_digits.py']

model = dict(
    distill=_base_.pop('distill') | _base_.pop('settings').get('ctkd', {}),
    **_base_.pop('student'),
)
