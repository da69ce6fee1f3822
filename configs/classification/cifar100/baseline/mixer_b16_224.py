# mixer_b16 of timm at 224 pixels, teacher of CIFAR-100.
#
# Method:   fine-tuning of the ImageNet weights of timm
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); the weights are downloaded
# Command:  python tools/train.py configs/classification/cifar100/baseline/mixer_b16_224.py --amp
# Expected: not yet run
_base_ = [
    '../../../_base_/models/classifier_imagenet.py',
    '../../../_base_/datasets/cifar100_224.py',
    '../../../_base_/schedules/cifar100_300e_adamw.py',
]

model = dict(
    network=dict(type='TimmModel', name='mixer_b16_224', num_classes=100),
    weights='timm://mixer_b16_224',
    new_classifier=True,
)
work_dir = 'work_dirs/cifar100/mixer_b16_224'
