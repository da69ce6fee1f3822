# WKD-L + ReviewKD, resnet34 to resnet18 on ImageNet, as the paper has it.
#
# Method:   WKD-L + ReviewKD: WKD-L on the logits and ReviewKD on the stages
# Pair:     resnet34 of torchvision (73.31 top-1 in the paper) to resnet18
# Needs:    data/imagenet (train and val, one folder a synset); class costs in
#           data/interrelation/imagenet_resnet34_cka.safetensors, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd-l-reviewkd_resnet34-to-resnet18_paper.py 4 --amp
# Expected: not yet run
_base_ = [
    '../../_base_/pairs/imagenet_resnet34-to-resnet18_paper.py',
    '../../_base_/distill/classification/wkd-l-reviewkd_imagenet.py',
]

model = dict(
    distill=_base_.pop('distill')
    | _base_.settings.get('wkd-l', {})
    | _base_.pop('settings').get('reviewkd', {}),
)
