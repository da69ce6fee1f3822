# GFL teacher of the mini data set: a backbone twice as wide, trained twice as long.
#
# Method:   plain training, no teacher
# Pair:     none; GFL ResNet-18 of 32 base channels
# Needs:    data/mini_digits (python tools/make_mini_dataset.py)
# Command:  python tools/train.py configs/mini/gfl_teacher.py
# Expected: mAP 0.640 (seed 0)
_base_ = 'gfl_student.py'

# The head is as wide as the student's, so that the student's features go through it (CrossKD).
model = dict(backbone=dict(base_channels=32), neck=dict(in_channels=[32, 64, 128]))

max_iters = 1000  # the distilled configs read iter_1000.pth
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=25),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))

work_dir = 'work_dirs/mini/gfl_teacher'
