# WKD-L + ReviewKD, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   WKD-L + ReviewKD: WKD-L on the logits and ReviewKD on the stages
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/wkd-l-reviewkd_digits.py
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/digits_120i.py',
    '../../_base_/distill/classification/wkd-l-reviewkd_digits.py',
]

model = dict(
    distill=_base_.pop('distill')
    | _base_.settings.get('wkd-l', {})
    | _base_.pop('settings').get('reviewkd', {}),
)
