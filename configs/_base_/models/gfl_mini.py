# GFL for the mini data set: three stages of a ResNet-18 of 16 base channels, an FPN of 32 on two of
# them, two convolutions in each branch of the head, from scratch.
_base_ = 'resnet18_mini.py'

model = dict(
    type='GFL',
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(out_indices=(0, 1, 2)),
    neck=dict(
        type='FPN',
        in_channels=[16, 32, 64],
        out_channels=32,
        start_level=1,
        num_outs=2,
    ),
    bbox_head=dict(
        type='GFLHead',
        num_classes=10,
        in_channels=32,
        feat_channels=32,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        # Squares of 32 and 64 pixels, by which digits of 18 to 40 are assigned.
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=4,
            scales_per_octave=1,
            strides=[8, 16],
        ),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        reg_max=8,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False
    ),
    test_cfg=dict(
        nms_pre=250,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
    ),
)
