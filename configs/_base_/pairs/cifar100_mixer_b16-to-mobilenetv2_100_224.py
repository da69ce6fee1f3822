# mixer_b16 to mobilenetv2_100 of timm on CIFAR-100 at 224 pixels.
#
# Teacher:  mixer_b16
# Student:  mobilenetv2_100
# Kind:     cnn-transformer
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the trained teacher (configs/classification/cifar100/baseline/mixer_b16_224.py)
# Costs:    data/interrelation/cifar100_mixer_b16_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_mixer_b16-to-mobilenetv2_100_224.py --amp
_base_ = [
    '../../classification/cifar100/baseline/mobilenetv2_100_224.py',
    '../settings/cifar100_224.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        config='wkd_det::classification/cifar100/baseline/mixer_b16_224.py',
        checkpoint='work_dirs/cifar100/mixer_b16_224/epoch_300.pth',
    ),
)

__cost = dict(
    loss=dict(
        cost=dict(type='FileCost', path='data/interrelation/cifar100_mixer_b16_cka.safetensors')
    )
)
__map = dict(same_size=False)
settings = {
    'wkd-l': dict(loss_wkd_l=__cost),
    'wkd-f': dict(loss_wkd_f=__map),
    'wkd-lf': dict(loss_wkd_l=__cost, loss_wkd_f=__map),
    'ofa': dict(loss_ofa_branches=dict(connector=dict(width=1280))),
}
