# Plain Faster R-CNN R-50 with FPN, COCO, 180k iterations: a baseline of the distilled ones.
#
# Method:   plain training, no teacher
# Pair:     none; R-50
# Needs:    COCO 2017 in data/coco; the weights of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/baseline/faster-rcnn_r50_fpn_180k_coco.py 4
# Expected: not yet run
#
# The schedule of the paper, that is detectron2's for a batch of 8: lr 0.01, x 0.1 at 120k and
# 160k, 1000 iterations of warm-up, shorter image side drawn from 640 ... 800. 4 GPUs with 2
# images each; on fewer, raise train_dataloader.batch_size so that the product stays 8.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

max_iters = 180000

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=20000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[120000, 160000],
        gamma=0.1,
    ),
]
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
auto_scale_lr = dict(enable=False, base_batch_size=8)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
