# Plain student of the photo scenes: the baseline of every distilled one, equal in steps.
#
# Method:   plain training, no teacher
# Pair:     none; ResNet-18 of 16 base channels
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200) and its
#           backbone (python tools/train.py configs/scenes/backbones/resnet18-w16.py)
# Command:  python tools/train.py configs/scenes/faster-rcnn_student.py
# Expected: not yet run
_base_ = [
    '../_base_/models/faster-rcnn_scenes.py',
    '../_base_/datasets/photo_scenes.py',
    '../_base_/schedules/scenes.py',
]

work_dir = 'work_dirs/scenes/faster-rcnn_student'
