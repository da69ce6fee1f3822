# WKD-F-memory, mini data set, DINO, 1000 steps.
#
# Method:   WKD-F-memory: Gaussian Wasserstein distance on the memory of the encoder
# Pair:     DINO ResNet-18 of 32 base channels, three decoder layers to DINO ResNet-18 of 16, two
#           decoder layers
# Needs:    data/mini_digits (python tools/make_mini_dataset.py), the student's backbone (python
#           tools/train.py configs/mini/gfl_student.py) and the trained teacher (python
#           tools/train.py configs/mini/dino_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-f-memory_dino.py
# Expected: not yet run
_base_ = ['../_base_/pairs/mini_dino_1000i.py', '../_base_/distill/wkd-f-memory.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-memory', {}))
