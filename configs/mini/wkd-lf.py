# WKD-L + WKD-F, mini data set, 500 steps.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-lf.py
# Expected: mAP 0.671 (seed 0)
_base_ = ['../_base_/pairs/mini_500i.py', '../_base_/distill/wkd-lf.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-lf', {}))
