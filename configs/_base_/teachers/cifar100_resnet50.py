# Teacher ResNet50 of CIFAR-100, of the public archive of CRD, unpacked in data.
teacher = dict(
    config='wkd_det::classification/cifar100/baseline/resnet50.py',
    checkpoint='data/cifar_teachers/ResNet50_vanilla/ckpt_epoch_240.pth',
)
