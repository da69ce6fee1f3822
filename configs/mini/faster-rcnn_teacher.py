# Teacher of the mini data set: deeper, twice as wide and trained a fifth longer.
#
# Method:   plain training, no teacher
# Pair:     none; ResNet-34 of 32 base channels
# Needs:    data/mini_digits (python tools/make_mini_dataset.py)
# Command:  python tools/train.py configs/mini/faster-rcnn_teacher.py
# Expected: mAP 0.727 (seed 0)
_base_ = 'faster-rcnn_student.py'

model = dict(
    backbone=dict(depth=34, base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
)

max_iters = 600  # the distilled configs read iter_600.pth
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=25),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))

work_dir = 'work_dirs/mini/faster-rcnn_teacher'
