# Teacher resnet110 of CIFAR-100, of the public archive of CRD, unpacked in data.
teacher = dict(
    config='wkd_det::classification/cifar100/baseline/resnet110.py',
    checkpoint='data/cifar_teachers/resnet110_vanilla/ckpt_epoch_240.pth',
)
