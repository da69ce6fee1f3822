# Teacher wrn_40_2 of CIFAR-100, of the public archive of CRD, unpacked in data.
teacher = dict(
    config='wkd_det::classification/cifar100/baseline/wrn_40_2.py',
    checkpoint='data/cifar_teachers/wrn_40_2_vanilla/ckpt_epoch_240.pth',
)
