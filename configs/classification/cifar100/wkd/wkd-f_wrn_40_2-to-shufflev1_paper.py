# WKD-F, wrn_40_2 to ShuffleV1 on CIFAR-100, as the paper has it.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     wrn_40_2 (75.61 top-1 published by CRD) to ShuffleV1
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_wrn_40_2-to-shufflev1_paper.py --amp
# Expected: not yet run
_base_ = './wkd-f_wrn_40_2-to-shufflev1_reference.py'

model = dict(
    distill=dict(
        loss_wkd_f=dict(loss=dict(unbiased=False)),
    ),
)
optim_wrapper = dict(optimizer=dict(nesterov=False))
custom_hooks = []
work_dir = 'work_dirs/cifar100/wkd-f_wrn_40_2-to-shufflev1_paper'
