# WKD-F, resnet32x4 to resnet8x4 on CIFAR-100, as the paper has it.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet32x4 (79.42 top-1 published by CRD) to resnet8x4
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-f_resnet32x4-to-resnet8x4_paper.py --amp
# Expected: not yet run
_base_ = './wkd-f_resnet32x4-to-resnet8x4_reference.py'

model = dict(
    distill=dict(
        loss_wkd_f=dict(loss=dict(unbiased=False)),
    ),
)
optim_wrapper = dict(optimizer=dict(nesterov=False))
custom_hooks = []
work_dir = 'work_dirs/cifar100/wkd-f_resnet32x4-to-resnet8x4_paper'
