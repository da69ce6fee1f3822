# Tf-KD, resnet18 on ImageNet, without a teacher.
#
# Method:   Tf-KD: a virtual teacher that is right in 99 of 100 cases
# Pair:     resnet18
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh configs/classification/imagenet/tfkd_resnet18_self.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet18_self.py',
    '../../_base_/distill/classification/tfkd_imagenet.py',
]

model = dict(
    distill=_base_.pop('distill'),
    **_base_.pop('student'),
)
