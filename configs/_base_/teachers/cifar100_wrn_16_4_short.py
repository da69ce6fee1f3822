# Teacher wrn_16_4 of the short trainings of CIFAR-100, trained by its config.
teacher = dict(
    config='wkd_det::classification/cifar100/baseline/wrn_16_4_short.py',
    checkpoint='work_dirs/cifar100/wrn_16_4_short/epoch_20.pth',
    inference=dict(channels_last=True),
)
