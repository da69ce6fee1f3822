# Backbone of the teacher of the photo scenes: twice as wide, trained a third longer.
#
# Method:   plain training
# Pair:     none; ResNet-18 of 32 base channels
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200)
# Command:  python tools/train.py configs/scenes/backbones/resnet18-w32.py
# Expected: not yet run
_base_ = 'resnet18-w16.py'

model = dict(network=dict(backbone=dict(base_channels=32)))

max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
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
work_dir = 'work_dirs/scenes/resnet18-w32'
