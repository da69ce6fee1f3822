# resnet50 to mobilenetv1 on ImageNet, as the reference implementation.
#
# Teacher:  resnet50 of torchvision
# Student:  mobilenetv1
# Kind:     reference
# Needs:    data/imagenet (train and val, one folder a synset)
# Costs:    data/wkd_cost/imagenet_resnet50_logit_linear_cka.pth
# Command:  bash tools/dist_train.sh configs/classification/imagenet/METHOD_resnet50-to-mobilenetv1_reference.py 4 --amp
_base_ = [
    '../../classification/imagenet/baseline/mobilenetv1.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        config='wkd_det::classification/imagenet/baseline/resnet50.py',
        checkpoint='torchvision://ResNet50_Weights.IMAGENET1K_V1',
    ),
)

# The decay of the terms depends on the method: distill/classification/*_imagenet_resnet50-*.py.
__wkd_l = dict(
    loss=dict(
        cost=dict(
            type='FileCost',
            path='data/wkd_cost/imagenet_resnet50_logit_linear_cka.pth',
            by_position=True,
        ),
        temperature=2.0,
        sharpness=2.0,
        transport_weight=25.0,
    )
)
__wkd_f = dict(
    connector=dict(type='BottleneckConnector'),
    loss=dict(grid=4, mean_cov_ratio=2.0, loss_weight=0.005),
)
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
}
