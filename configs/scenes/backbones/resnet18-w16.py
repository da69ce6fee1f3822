# Backbone of the student of the photo scenes: ResNet-18 of 16 base channels, on single photographs.
#
# Method:   plain training
# Pair:     none; ResNet-18 of 16 base channels
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200)
# Command:  python tools/train.py configs/scenes/backbones/resnet18-w16.py
# Expected: 42.2 top-1 (one seed)
_base_ = ['../../_base_/datasets/photos.py', '../../_base_/runtimes/classification.py']

model = dict(
    type='Classifier',
    network=dict(
        type='PooledBackbone',
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=16),
        num_classes=50,
    ),
    data_preprocessor=dict(
        type='ImagePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
)

max_epochs = 12
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=175),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=0,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
auto_scale_lr = dict(enable=False, base_batch_size=128)
custom_hooks = [dict(type='ChannelsLastHook')]
work_dir = 'work_dirs/scenes/resnet18-w16'
