# vgg13 to vgg8 on CIFAR-100, as the reference implementation.
#
# Teacher:  vgg13 (74.64 top-1 published by CRD)
# Student:  vgg8
# Kind:     reference
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Costs:    data/interrelation/cifar100_vgg13_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_vgg13-to-vgg8_reference.py --amp
_base_ = 'cifar100_vgg13-to-vgg8_paper.py'

optim_wrapper = dict(optimizer=dict(nesterov=True))
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]

__wkd_l = dict(loss=dict(num_iters=10))
__wkd_f = dict(loss=dict(unbiased=True))
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
}
