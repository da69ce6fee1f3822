# WKD-F, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/wkd-f_digits.py
# Expected: 93.9 +- 0.2 top-1 (mean of five seeds)
_base_ = ['../../_base_/pairs/digits_120i.py', '../../_base_/distill/classification/wkd-f.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f', {}))
