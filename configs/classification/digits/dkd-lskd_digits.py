# DKD + LSKD, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   DKD + LSKD: DKD of standardised logits
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/dkd-lskd_digits.py
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/digits_120i.py',
    '../../_base_/distill/classification/dkd-lskd_digits.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('dkd-lskd', {}))
