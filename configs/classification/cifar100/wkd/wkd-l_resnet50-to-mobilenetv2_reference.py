# WKD-L, ResNet50 to MobileNetV2 on CIFAR-100, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     ResNet50 (79.34 top-1 published by CRD) to MobileNetV2
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the archive of CRD in data/cifar_teachers;
#           class costs in data/interrelation/cifar100_resnet50_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-l_resnet50-to-mobilenetv2_reference.py --amp
# Expected: not yet run; no published setting: hyper-parameters of wrn_40_2-to-shufflev1
_base_ = [
    '../baseline/mobilenetv2.py',
    '../../../_base_/teachers/cifar100_resnet50.py',
]

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_l=dict(
            tap='logits',
            loss=dict(
                type='WKDLogitLoss',
                cost=dict(
                    type='FileCost',
                    path='data/interrelation/cifar100_resnet50_cka.safetensors',
                    by_position=True,
                ),
                temperature=6.0,
                sharpness=1.0,
                transport_weight=200.0,
            ),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=150)]
work_dir = 'work_dirs/cifar100/wkd-l_resnet50-to-mobilenetv2_reference'
