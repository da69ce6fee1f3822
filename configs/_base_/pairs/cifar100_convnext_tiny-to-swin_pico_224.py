# convnext_tiny to swin_pico of timm on CIFAR-100 at 224 pixels.
#
# Teacher:  convnext_tiny
# Student:  swin_pico
# Kind:     cnn-transformer
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the trained teacher (configs/classification/cifar100/baseline/convnext_tiny_224.py)
# Costs:    data/interrelation/cifar100_convnext_tiny_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_convnext_tiny-to-swin_pico_224.py --amp
_base_ = [
    '../../classification/cifar100/baseline/swin_pico_224.py',
    '../settings/cifar100_224.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        config='wkd_det::classification/cifar100/baseline/convnext_tiny_224.py',
        checkpoint='work_dirs/cifar100/convnext_tiny_224/epoch_300.pth',
    ),
)

__cost = dict(
    loss=dict(
        cost=dict(type='FileCost', path='data/interrelation/cifar100_convnext_tiny_cka.safetensors')
    )
)
settings = {
    'wkd-l': dict(loss_wkd_l=__cost),
    'wkd-lf': dict(loss_wkd_l=__cost),
}
