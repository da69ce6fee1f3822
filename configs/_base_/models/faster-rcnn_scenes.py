# Faster R-CNN for the photo scenes: ResNet-18 of 16 base channels, pre-trained, and an FPN of 32.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        # Pre-trained on 64 x 64 pixels: batch normalisation and every layer go on learning.
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/scenes/resnet18-w16/epoch_12.pth',
            prefix='network.backbone.',
        ),
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32, num_outs=4),
    rpn_head=dict(
        in_channels=32,
        feat_channels=32,
        # Anchors of 16, 32, 64 and 128 pixels; nine objects of ten have sides of 14 to 58.
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            # torchvision's kernel: mmcv's is about half as fast on a CPU. One sample a bin: the
            # bins of these RoIs are about a pixel of the map wide.
            roi_layer=dict(sampling_ratio=1, use_torchvision=True),
            out_channels=32,
        ),
        bbox_head=dict(in_channels=32, fc_out_channels=128, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=128, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=128, max_per_img=100)),
)
