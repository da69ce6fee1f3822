# WKD-F, resnet50 to mobilenetv1 on ImageNet, as the reference implementation.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-f_resnet50-to-mobilenetv1_reference.py 4 --amp
# Expected: not yet run; 73.12 top-1 published by the reference implementation
_base_ = [
    '../baseline/mobilenetv1.py',
    '../../../_base_/teachers/imagenet_resnet50.py',
]

model = dict(
    type='DistilledClassifier',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_f=dict(
            tap='model.13',
            teacher_tap='layer4',
            connector=dict(type='BottleneckConnector'),
            loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=0.005),
        ),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=30)]
work_dir = 'work_dirs/imagenet/wkd-f_resnet50-to-mobilenetv1_reference'
