# swin_tiny to resnet18 of timm on CIFAR-100 at 224 pixels.
#
# Teacher:  swin_tiny
# Student:  resnet18
# Kind:     cnn-transformer
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the trained teacher (configs/classification/cifar100/baseline/swin_tiny_224.py)
# Costs:    data/interrelation/cifar100_swin_tiny_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_swin_tiny-to-resnet18_224.py --amp
_base_ = [
    '../../classification/cifar100/baseline/resnet18_224.py',
    '../settings/cifar100_224.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        config='wkd_det::classification/cifar100/baseline/swin_tiny_224.py',
        checkpoint='work_dirs/cifar100/swin_tiny_224/epoch_300.pth',
    ),
)

__cost = dict(
    loss=dict(
        cost=dict(type='FileCost', path='data/interrelation/cifar100_swin_tiny_cka.safetensors')
    )
)
settings = {
    'wkd-l': dict(loss_wkd_l=__cost),
    'wkd-lf': dict(loss_wkd_l=__cost),
    'ofa': dict(loss_ofa_branches=dict(connector=dict(width=768))),
}
