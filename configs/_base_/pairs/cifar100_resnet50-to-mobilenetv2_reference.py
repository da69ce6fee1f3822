# ResNet50 to MobileNetV2 on CIFAR-100, as the reference implementation.
#
# Teacher:  ResNet50 (79.34 top-1 published by CRD)
# Student:  MobileNetV2
# Kind:     classifier
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers
# Costs:    data/interrelation/cifar100_resnet50_cka.safetensors
# Command:  python tools/train.py configs/classification/cifar100/METHOD_resnet50-to-mobilenetv2_reference.py --amp
_base_ = [
    '../../classification/cifar100/baseline/mobilenetv2.py',
    '../settings/cifar100_unlike.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=dict(
        config='wkd_det::classification/cifar100/baseline/resnet50.py',
        checkpoint='data/cifar_teachers/ResNet50_vanilla/ckpt_epoch_240.pth',
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]

__cost = dict(
    loss=dict(
        cost=dict(
            type='FileCost',
            path='data/interrelation/cifar100_resnet50_cka.safetensors',
            by_position=True,
        )
    )
)
__map = dict(tap='blocks.6', teacher_tap='layer4')
settings = {
    'wkd-l': dict(loss_wkd_l=__cost),
    'wkd-f': dict(loss_wkd_f=__map),
    'wkd-lf': dict(loss_wkd_l=__cost, loss_wkd_f=__map),
}
