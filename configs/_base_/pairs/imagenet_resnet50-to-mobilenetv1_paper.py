# resnet50 to mobilenetv1 on ImageNet, as the paper has it.
#
# Teacher:  resnet50 of torchvision
# Student:  mobilenetv1
# Kind:     cnn
# Needs:    data/imagenet (train and val, one folder a synset)
# Costs:    data/interrelation/imagenet_resnet50_cka.safetensors
# Command:  bash tools/dist_train.sh configs/classification/imagenet/METHOD_resnet50-to-mobilenetv1_paper.py 4 --amp
_base_ = 'imagenet_resnet50-to-mobilenetv1_reference.py'

optim_wrapper = dict(optimizer=dict(nesterov=False))
__wkd_l = dict(
    loss=dict(
        cost=dict(path='data/interrelation/imagenet_resnet50_cka.safetensors'),
        num_iters=9,
        sharpness=1.0,
    )
)
__wkd_f = dict(loss=dict(grid=1, unbiased=False, loss_weight=0.001))
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
    'cat': dict(loss_cat=dict(loss=dict(resolution=2, normalize=True, loss_weight=10.0))),
    'reviewkd': dict(loss_reviewkd=dict(loss=dict(loss_weight=8.0))),
    'mgd': dict(loss_mgd=dict(connector=dict(type='ConvConnector', norm_cfg=None, resize=True))),
    'fsp': dict(loss_fsp=dict(connector=dict(type='ConvConnector', resize=True))),
}
