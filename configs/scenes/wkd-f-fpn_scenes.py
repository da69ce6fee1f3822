# WKD-F on the FPN, photo scenes, 2400 steps.
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     ResNet-18 of 32 base channels to ResNet-18 of 16
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200), the
#           student's backbone (python tools/train.py configs/scenes/backbones/resnet18-w16.py) and
#           the trained teacher (python tools/train.py configs/scenes/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/scenes/wkd-f-fpn_scenes.py
# Expected: not yet run
_base_ = ['../_base_/pairs/scenes_2400i.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
