# WKD-L + WKD-F, resnet50 to mobilenetv1 on ImageNet, as the reference implementation.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset);
#           class costs in data/wkd_cost/imagenet_resnet50_logit_linear_cka.pth, see README.md
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-lf_resnet50-to-mobilenetv1_reference.py 4 --amp
# Expected: not yet run; 73.69 top-1 published by the reference implementation
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
        loss_wkd_f=dict(
            tap='model.13',
            teacher_tap='layer4',
            connector=dict(type='BottleneckConnector'),
            loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=0.005),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]
work_dir = 'work_dirs/imagenet/wkd-lf_resnet50-to-mobilenetv1_reference'
