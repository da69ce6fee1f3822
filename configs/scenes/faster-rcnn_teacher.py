# Teacher of the photo scenes: twice as wide as the student, and trained for twice as long.
#
# Method:   plain training, no teacher
# Pair:     none; ResNet-18 of 32 base channels
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200) and its
#           backbone (python tools/train.py configs/scenes/backbones/resnet18-w32.py)
# Command:  python tools/train.py configs/scenes/faster-rcnn_teacher.py
# Expected: mAP 0.221 (one seed)
_base_ = 'faster-rcnn_student.py'

model = dict(
    backbone=dict(
        base_channels=32,
        init_cfg=dict(checkpoint='work_dirs/scenes/resnet18-w32/epoch_12.pth'),
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
)

max_iters = 4800  # the distilled configs read iter_4800.pth
train_cfg = dict(max_iters=max_iters, val_interval=1200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))

work_dir = 'work_dirs/scenes/faster-rcnn_teacher'
