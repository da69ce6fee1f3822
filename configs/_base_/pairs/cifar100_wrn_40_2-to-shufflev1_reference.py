# wrn_40_2 to ShuffleV1 on CIFAR-100, as the reference implementation.
#
# Teacher:  wrn_40_2 (75.61 top-1 published by CRD)
# Student:  ShuffleV1
# Kind:     classifier
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Costs:    data/wkd_cost/cifar100_wrn_40_2_linear_cka.pth
# Command:  python tools/train.py configs/classification/cifar100/METHOD_wrn_40_2-to-shufflev1_reference.py --amp
_base_ = [
    '../../classification/cifar100/baseline/shufflev1.py',
    '../teachers/cifar100_wrn_40_2.py',
    '../settings/cifar100_unlike.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(type='DistilledClassifier', image_size=32, teacher=_base_.pop('teacher'))
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]

__cost = dict(
    loss=dict(
        cost=dict(
            type='FileCost', path='data/wkd_cost/cifar100_wrn_40_2_linear_cka.pth', by_position=True
        )
    )
)
__map = dict(tap='layer3', teacher_tap='block3')
settings = {
    'wkd-l': dict(loss_wkd_l=__cost),
    'wkd-f': dict(loss_wkd_f=__map),
    'wkd-lf': dict(loss_wkd_l=__cost, loss_wkd_f=__map),
}
