# KD, resnet18 from its own first generation (Born-Again) on ImageNet.
#
# Method:   KD: Kullback-Leibler divergence of the class probabilities
# Pair:     resnet18 to resnet18
# Needs:    data/imagenet (train and val, one folder a synset); generation 0, trained first
#           (configs/classification/imagenet/baseline/born-again_gen0_resnet18.py)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/kd_resnet18-to-resnet18_born-again.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet18-to-resnet18_born-again.py',
    '../../_base_/distill/classification/kd_imagenet.py',
]

model = dict(
    distill=_base_.pop('distill') | _base_.pop('settings').get('kd', {}),
    **_base_.pop('student'),
)
