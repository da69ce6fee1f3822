# DIST, resnet34 to resnet18 on ImageNet, as the paper has it.
#
# Method:   DIST: correlation of the probabilities within and between images
# Pair:     resnet34 of torchvision (73.31 top-1 in the paper) to resnet18
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/dist_resnet34-to-resnet18_paper.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet34-to-resnet18_paper.py',
    '../../_base_/distill/classification/dist_imagenet.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('dist', {}))
