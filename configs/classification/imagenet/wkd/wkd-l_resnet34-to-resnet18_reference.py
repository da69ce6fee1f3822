# WKD-L, resnet34 to resnet18 on ImageNet, as the reference implementation.
#
# Method:   WKD-L: discrete Wasserstein distance on the logits
# Pair:     resnet34 of torchvision (73.31 top-1 in the paper) to resnet18
# Needs:    data/imagenet (train and val, one folder a synset);
#           class costs in data/wkd_cost/imagenet_resnet34_logit_linear_cka.pth, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-l_resnet34-to-resnet18_reference.py 4 --amp
# Expected: not yet run; 72.49 top-1 published by the reference implementation
_base_ = [
    '../baseline/resnet18.py',
    '../../../_base_/teachers/imagenet_resnet34.py',
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
                    path='data/wkd_cost/imagenet_resnet34_logit_linear_cka.pth',
                    by_position=True,
                ),
                temperature=2.0,
                sharpness=1.0,
                transport_weight=30.0,
            ),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]
work_dir = 'work_dirs/imagenet/wkd-l_resnet34-to-resnet18_reference'
