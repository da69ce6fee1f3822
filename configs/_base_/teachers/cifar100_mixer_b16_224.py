# Teacher mixer_b16 of CIFAR-100 at 224 pixels, trained first.
teacher = dict(
    config='configs/classification/cifar100/baseline/mixer_b16_224.py',
    checkpoint='work_dirs/cifar100/mixer_b16_224/epoch_300.pth',
)
