# resnet18 from its own first generation (Born-Again) on ImageNet.
#
# Teacher:  resnet18
# Student:  resnet18
# Kind:     self
# Needs:    data/imagenet (train and val, one folder a synset); generation 0, trained first
#           (configs/classification/imagenet/baseline/born-again_gen0_resnet18.py)
# Costs:    data/interrelation/imagenet_born-again_gen0_cka.safetensors
# Command:  bash tools/dist_train.sh configs/classification/imagenet/METHOD_resnet18-to-resnet18_born-again.py 4 --amp
#
# The numbers are those of resnet34-to-resnet18, without its decay.
_base_ = [
    '../../classification/imagenet/baseline/resnet18.py',
    '../settings/imagenet_resnet34-to-resnet18.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        config='wkd_det::classification/imagenet/baseline/born-again_gen0_resnet18.py',
        checkpoint='work_dirs/imagenet/born-again_gen0_resnet18/epoch_100.pth',
    ),
)

__cost = dict(
    loss=dict(
        cost=dict(
            type='FileCost', path='data/interrelation/imagenet_born-again_gen0_cka.safetensors'
        )
    )
)
settings = {'wkd-l': dict(loss_wkd_l=__cost), 'wkd-lf': dict(loss_wkd_l=__cost)}
