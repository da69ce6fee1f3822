# resnet56 to resnet20 on CIFAR-100, as the paper has it.
#
# Teacher:  resnet56 (72.34 top-1 published by CRD)
# Student:  resnet20
# Kind:     cnn
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Costs:    data/interrelation/cifar100_resnet56_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_resnet56-to-resnet20_paper.py --amp
_base_ = [
    '../../classification/cifar100/baseline/resnet20.py',
    '../teachers/cifar100_resnet56.py',
    '../settings/cifar100_alike.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(type='DistilledClassifier', image_size=32, teacher=_base_.pop('teacher'))
optim_wrapper = dict(optimizer=dict(nesterov=False))

__path = 'data/interrelation/cifar100_resnet56_cka.safetensors'
__wkd_l = dict(loss=dict(cost=dict(type='FileCost', path=__path, by_position=True), num_iters=9))
__wkd_f = dict(loss=dict(unbiased=False))
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
    'cat': dict(loss_cat=dict(loss=dict(resolution=2, normalize=False, loss_weight=0.7))),
    'reviewkd': dict(
        loss_reviewkd=dict(connector=dict(mid_channels=64), loss=dict(loss_weight=0.6))
    ),
}
