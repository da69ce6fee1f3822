# WKD-L + WKD-F, resnet50 to mobilenetv1 on ImageNet, as the paper has it.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset); class costs in
#           data/interrelation/imagenet_resnet50_cka.safetensors, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd-lf_resnet50-to-mobilenetv1_paper.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet50-to-mobilenetv1_paper.py',
    '../../_base_/distill/classification/wkd-lf.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-lf', {}))
