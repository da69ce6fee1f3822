# Teacher swin_tiny of CIFAR-100 at 224 pixels, trained first.
teacher = dict(
    config='configs/classification/cifar100/baseline/swin_tiny_224.py',
    checkpoint='work_dirs/cifar100/swin_tiny_224/epoch_300.pth',
)
