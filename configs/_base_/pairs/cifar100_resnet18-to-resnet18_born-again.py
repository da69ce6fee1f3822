# ResNet18 from its own first generation (Born-Again) on CIFAR-100.
#
# Teacher:  ResNet18
# Student:  ResNet18
# Kind:     self
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there); generation 0, trained first
#           (configs/classification/cifar100/baseline/resnet18.py)
# Costs:    data/interrelation/cifar100_resnet18_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_resnet18-32px_born-again.py --amp
_base_ = [
    '../../classification/cifar100/baseline/resnet18.py',
    '../settings/cifar100_alike.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=dict(
        config='wkd_det::classification/cifar100/baseline/resnet18.py',
        checkpoint='work_dirs/cifar100/resnet18/epoch_200.pth',
    ),
)

__cost = dict(
    loss=dict(
        cost=dict(type='FileCost', path='data/interrelation/cifar100_resnet18_cka.safetensors')
    )
)
settings = {'wkd-l': dict(loss_wkd_l=__cost), 'wkd-lf': dict(loss_wkd_l=__cost)}
