# USKD, resnet18 on ImageNet, without a teacher.
#
# Method:   USKD: the target class weighted, the others by rank, from two classifiers
# Pair:     resnet18
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh configs/classification/imagenet/uskd_resnet18_self.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet18_self.py',
    '../../_base_/distill/classification/uskd_imagenet.py',
]

model = dict(distill=_base_.pop('distill'))
