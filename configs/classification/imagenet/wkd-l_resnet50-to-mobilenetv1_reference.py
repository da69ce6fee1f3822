# WKD-L, resnet50 to mobilenetv1 on ImageNet, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset); class costs in
#           data/wkd_cost/imagenet_resnet50_logit_linear_cka.pth, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd-l_resnet50-to-mobilenetv1_reference.py 4 --amp
# Expected: not yet run; 73.17 top-1 published by the reference implementation
_base_ = [
    '../../_base_/pairs/imagenet_resnet50-to-mobilenetv1_reference.py',
    '../../_base_/distill/classification/wkd-l_imagenet_resnet50-to-mobilenetv1_reference.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-l', {}))
