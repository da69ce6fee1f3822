# WKD-F, resnet34 to resnet18 on ImageNet, as the reference implementation.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet34 of torchvision (73.31 top-1 in the paper) to resnet18
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-f_resnet34-to-resnet18_reference.py 4 --amp
# Expected: not yet run; 72.50 top-1 published by the reference implementation
_base_ = [
    '../baseline/resnet18.py',
    '../../../_base_/teachers/imagenet_resnet34.py',
]

model = dict(
    type='DistilledClassifier',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='layer4',
            connector=dict(type='BottleneckConnector'),
            loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=0.02),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]
work_dir = 'work_dirs/imagenet/wkd-f_resnet34-to-resnet18_reference'
