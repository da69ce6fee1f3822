# resnet32x4 to resnet8x4 on CIFAR-100, as the reference implementation.
#
# Teacher:  resnet32x4 (79.42 top-1 published by CRD)
# Student:  resnet8x4
# Kind:     reference
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Costs:    data/wkd_cost/cifar100_resnet32x4_linear_cka.pth
# Command:  python tools/train.py configs/classification/cifar100/METHOD_resnet32x4-to-resnet8x4_reference.py --amp
_base_ = 'cifar100_resnet32x4-to-resnet8x4_paper.py'

optim_wrapper = dict(optimizer=dict(nesterov=True))
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]

__wkd_l = dict(
    loss=dict(cost=dict(path='data/wkd_cost/cifar100_resnet32x4_linear_cka.pth'), num_iters=10)
)
__wkd_f = dict(loss=dict(unbiased=True))
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
}
