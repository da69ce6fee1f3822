# swin_pico of timm at 224 pixels, plain student of CIFAR-100.
#
# Method:   plain training, from random weights
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/baseline/swin_pico_224.py --amp
# Expected: not yet run
_base_ = [
    '../../../_base_/models/classifier_imagenet.py',
    '../../../_base_/datasets/cifar100_224.py',
    '../../../_base_/schedules/cifar100_300e_adamw.py',
]

model = dict(
    network=dict(
        type='TimmModel', name='swin_tiny_patch4_window7_224', num_classes=100, embed_dim=48
    ),
)
work_dir = 'work_dirs/cifar100/swin_pico_224'
