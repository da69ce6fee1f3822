# convnext_tiny of timm at 224 pixels, teacher of CIFAR-100.
#
# Method:   fine-tuning of the ImageNet weights of timm
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the weights are downloaded
# Command:  python tools/train.py \
#     configs/classification/cifar100/baseline/convnext_tiny_224.py --amp
# Expected: not yet run
_base_ = [
    '../../../_base_/models/classifier_imagenet.py',
    '../../../_base_/datasets/cifar100_224.py',
    '../../../_base_/schedules/cifar100_300e_adamw.py',
]

model = dict(
    network=dict(type='TimmModel', name='convnext_tiny', num_classes=100),
    weights='timm://convnext_tiny',
    new_classifier=True,
)
work_dir = 'work_dirs/cifar100/convnext_tiny_224'
