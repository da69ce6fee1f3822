# NKD + WKD-F, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   NKD + WKD-F: NKD on the logits and WKD-F on the last feature map
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/nkd-wkd-f_digits.py
# Expected: not yet run
_base_ = ['../../_base_/pairs/digits_120i.py', '../../_base_/distill/classification/nkd-wkd-f.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f', {}))
