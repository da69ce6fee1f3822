# CrossKD, mini data set, GFL, 500 steps.
#
# Method:   CrossKD: the student's features through the teacher's head, classes and boxes
# Pair:     GFL ResNet-18 of 32 base channels to GFL ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/gfl_teacher.py)
# Command:  python tools/train.py configs/mini/crosskd_gfl.py
# Expected: not yet run
_base_ = ['../_base_/pairs/mini_gfl_500i.py', '../_base_/distill/crosskd.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('crosskd', {}))
