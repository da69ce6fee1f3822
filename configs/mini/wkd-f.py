# WKD-F on RoIs, mini data set, 500 steps.
#
# Method:   WKD-F on RoIs: Gaussian Wasserstein distance on the RoI features
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-f.py
# Expected: not yet run
_base_ = ['../_base_/pairs/mini_500i.py', '../_base_/distill/wkd-f.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f', {}))
