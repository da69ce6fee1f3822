# WKD-F on the FPN, mini data set, GFL, 500 steps.
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     GFL ResNet-18 of 32 base channels to GFL ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/gfl_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-f-fpn_gfl.py
# Expected: not yet run
_base_ = ['../_base_/pairs/mini_gfl_500i.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
