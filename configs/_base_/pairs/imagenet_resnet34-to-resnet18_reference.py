# resnet34 to resnet18 on ImageNet, as the reference implementation.
#
# Teacher:  resnet34 of torchvision (73.31 top-1 in the paper)
# Student:  resnet18
# Kind:     reference
# Needs:    data/imagenet (train and val, one folder a synset)
# Costs:    data/wkd_cost/imagenet_resnet34_logit_linear_cka.pth
# Command:  bash tools/dist_train.sh configs/classification/imagenet/METHOD_resnet34-to-resnet18_reference.py 4 --amp
_base_ = [
    '../../classification/imagenet/baseline/resnet18.py',
    '../settings/imagenet_resnet34-to-resnet18.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        config='wkd_det::classification/imagenet/baseline/resnet34.py',
        checkpoint='torchvision://ResNet34_Weights.IMAGENET1K_V1',
    ),
)
custom_hooks = [dict(type='TermScheduleHook', decay_from=0)]

__cost = dict(
    loss=dict(
        cost=dict(
            type='FileCost',
            path='data/wkd_cost/imagenet_resnet34_logit_linear_cka.pth',
            by_position=True,
        )
    )
)
settings = {'wkd-l': dict(loss_wkd_l=__cost), 'wkd-lf': dict(loss_wkd_l=__cost)}
