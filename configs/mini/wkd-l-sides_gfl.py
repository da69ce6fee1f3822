# WKD-L-dense + WKD-sides, mini data set, GFL, 500 steps.
#
# Method:   WKD-L-dense + WKD-sides: Wasserstein distances on class logits and sides of boxes
# Pair:     GFL ResNet-18 of 32 base channels to GFL ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/gfl_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-l-sides_gfl.py
# Expected: not yet run
_base_ = ['../_base_/pairs/mini_gfl_500i.py', '../_base_/distill/wkd-l-sides.py']

model = dict(
    distill=_base_.pop('distill')
    | _base_.settings.get('wkd-l-dense', {})
    | _base_.pop('settings').get('wkd-sides', {}),
)
