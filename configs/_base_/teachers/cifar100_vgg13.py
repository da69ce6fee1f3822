# Teacher vgg13 of CIFAR-100, of the public archive of CRD, unpacked in data.
teacher = dict(
    config='wkd_det::classification/cifar100/baseline/vgg13.py',
    checkpoint='data/cifar_teachers/vgg13_vanilla/ckpt_epoch_240.pth',
)
