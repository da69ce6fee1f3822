# Plain GFL student of the mini data set: the baseline of every distilled one, equal in steps.
#
# Method:   plain training, no teacher
# Pair:     none; GFL ResNet-18 of 16 base channels
# Needs:    data/mini_digits (python tools/make_mini_dataset.py)
# Command:  python tools/train.py configs/mini/gfl_student.py
# Expected: mAP 0.523 (seed 0)
_base_ = [
    '../_base_/models/gfl_mini.py',
    '../_base_/datasets/mini_digits.py',
    '../_base_/schedules/mini.py',
]

work_dir = 'work_dirs/mini/gfl_student'
