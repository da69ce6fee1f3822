# Born-Again ResNet-18 on ImageNet, generation 1: WKD-L from generation 0.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet18 to resnet18
# Needs:    data/imagenet (train and val, one folder a synset);
#           generation 0, trained (born-again_gen0_resnet18.py);
#           class costs in data/interrelation/imagenet_born-again_gen0_cka.safetensors
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/born-again_gen1_resnet18.py 4 --amp
# Expected: not yet run
_base_ = [
    '../baseline/resnet18.py',
    '../../../_base_/teachers/imagenet_born-again_gen0.py',
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
                    path='data/interrelation/imagenet_born-again_gen0_cka.safetensors',
                ),
                temperature=2.0,
                sharpness=1.0,
                transport_weight=30.0,
            ),
        ),
    ),
)
work_dir = 'work_dirs/imagenet/born-again_gen1_resnet18'
