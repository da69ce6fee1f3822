# WKD-L, resnet34 to resnet18 on ImageNet, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet34 of torchvision (73.31 top-1 in the paper) to resnet18
# Needs:    data/imagenet (train and val, one folder a synset); class costs in
#           data/wkd_cost/imagenet_resnet34_logit_linear_cka.pth, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd-l_resnet34-to-resnet18_reference.py 4 --amp
# Expected: not yet run; 72.49 top-1 published by the reference implementation
_base_ = [
    '../../_base_/pairs/imagenet_resnet34-to-resnet18_reference.py',
    '../../_base_/distill/classification/wkd-l.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-l', {}))
