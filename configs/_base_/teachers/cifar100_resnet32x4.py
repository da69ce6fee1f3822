# Teacher resnet32x4 of CIFAR-100, of the public archive of CRD, unpacked in data.
teacher = dict(
    config='wkd_det::classification/cifar100/baseline/resnet32x4.py',
    checkpoint='data/cifar_teachers/resnet32x4_vanilla/ckpt_epoch_240.pth',
)
