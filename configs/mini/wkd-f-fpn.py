# WKD-F on the FPN, mini data set, 500 steps.
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-f-fpn.py
# Expected: not yet run
_base_ = ['../_base_/pairs/mini_500i.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
