# WKD-L, resnet50 to mobilenetv1 on ImageNet, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset);
#           class costs in data/wkd_cost/imagenet_resnet50_logit_linear_cka.pth, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-l_resnet50-to-mobilenetv1_reference.py 4 --amp
# Expected: not yet run; 73.17 top-1 published by the reference implementation
_base_ = [
    '../baseline/mobilenetv1.py',
    '../../../_base_/teachers/imagenet_resnet50.py',
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
                    path='data/wkd_cost/imagenet_resnet50_logit_linear_cka.pth',
                    by_position=True,
                ),
                temperature=2.0,
                sharpness=2.0,
                transport_weight=25.0,
            ),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]
work_dir = 'work_dirs/imagenet/wkd-l_resnet50-to-mobilenetv1_reference'
