# Backbone of the teacher of the photo scenes: twice as wide.
#
# Method:   plain training
# Pair:     none; ResNet-18 of 32 base channels
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200)
# Command:  python tools/train.py configs/scenes/backbones/resnet18-w32.py
# Expected: 48.7 top-1 (one seed)
_base_ = 'resnet18-w16.py'

model = dict(network=dict(backbone=dict(base_channels=32)))
work_dir = 'work_dirs/scenes/resnet18-w32'
