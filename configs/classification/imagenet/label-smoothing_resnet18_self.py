# Label smoothing, resnet18 on ImageNet, without a teacher.
#
# Method:   Label smoothing: nine tenths for the label, the rest for the other classes
# Pair:     resnet18
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/label-smoothing_resnet18_self.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet18_self.py',
    '../../_base_/distill/classification/label-smoothing.py',
]

model = dict(
    distill=_base_.pop('distill'),
    **_base_.pop('student'),
)
