# DINO teacher of the mini data set: a wider backbone, one decoder layer more, 1.5 times the steps.
#
# Method:   plain training, no teacher
# Pair:     none; DINO ResNet-18 of 32 base channels, three decoder layers
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and its backbone (python
#           tools/train.py configs/mini/gfl_teacher.py)
# Command:  python tools/train.py configs/mini/dino_teacher.py
# Expected: mAP 0.594 (seed 0)
_base_ = 'dino_student.py'

model = dict(
    backbone=dict(
        base_channels=32, init_cfg=dict(checkpoint='work_dirs/mini/gfl_teacher/iter_1000.pth')
    ),
    neck=dict(in_channels=[128]),
    decoder=dict(num_layers=3),
)

max_iters = 1500  # the distilled configs read iter_1500.pth
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=25),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]

work_dir = 'work_dirs/mini/dino_teacher'
