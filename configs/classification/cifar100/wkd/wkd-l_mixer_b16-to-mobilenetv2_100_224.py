# WKD-L, mixer_b16 to mobilenetv2_100 of timm on CIFAR-100 at 224 pixels.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     mixer_b16 to mobilenetv2_100
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there);
#           the trained teacher (configs/classification/cifar100/baseline/mixer_b16_224.py);
#           class costs in data/interrelation/cifar100_mixer_b16_cka.safetensors, see README.md
# Command:  python tools/train.py \
#     configs/classification/cifar100/wkd/wkd-l_mixer_b16-to-mobilenetv2_100_224.py --amp
# Expected: not yet run; the paper searches a lambda of 50, 100, 150, 200
_base_ = [
    '../baseline/mobilenetv2_100_224.py',
    '../../../_base_/teachers/cifar100_mixer_b16_224.py',
]

model = dict(
    type='DistilledClassifier',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_l=dict(
            tap='logits',
            loss=dict(
                type='WKDLogitLoss',
                cost=dict(
                    type='FileCost',
                    path='data/interrelation/cifar100_mixer_b16_cka.safetensors',
                ),
                temperature=2.0,
                sharpness=1.0,
                transport_weight=100.0,
            ),
        ),
    ),
)
work_dir = 'work_dirs/cifar100/wkd-l_mixer_b16-to-mobilenetv2_100_224'
