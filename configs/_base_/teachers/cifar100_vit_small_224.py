# Teacher vit_small of CIFAR-100 at 224 pixels, trained first.
teacher = dict(
    config='configs/classification/cifar100/baseline/vit_small_224.py',
    checkpoint='work_dirs/cifar100/vit_small_224/epoch_300.pth',
)
