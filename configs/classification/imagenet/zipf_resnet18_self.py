# Zipf's LS, resnet18 on ImageNet, without a teacher.
#
# Method:   Zipf's LS: the other classes by the rank that the pixels of the last map give them
# Pair:     resnet18
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh configs/classification/imagenet/zipf_resnet18_self.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet18_self.py',
    '../../_base_/distill/classification/zipf.py',
]

model = dict(distill=_base_.pop('distill'))
