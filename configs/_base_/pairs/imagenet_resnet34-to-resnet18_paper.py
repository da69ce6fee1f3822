# resnet34 to resnet18 on ImageNet, as the paper has it.
#
# Teacher:  resnet34 of torchvision (73.31 top-1 in the paper)
# Student:  resnet18
# Kind:     cnn
# Needs:    data/imagenet (train and val, one folder a synset)
# Costs:    data/interrelation/imagenet_resnet34_cka.safetensors
# Command:  bash tools/dist_train.sh configs/classification/imagenet/METHOD_resnet34-to-resnet18_paper.py 4 --amp
_base_ = 'imagenet_resnet34-to-resnet18_reference.py'
_base_.pop('custom_hooks')  # no decay

optim_wrapper = dict(optimizer=dict(nesterov=False))
__wkd_l = dict(
    loss=dict(cost=dict(path='data/interrelation/imagenet_resnet34_cka.safetensors'), num_iters=9)
)
__wkd_f = dict(loss=dict(grid=1, unbiased=False))
settings = {
    'wkd-l': dict(loss_wkd_l=__wkd_l),
    'wkd-f': dict(loss_wkd_f=__wkd_f),
    'wkd-lf': dict(loss_wkd_l=__wkd_l, loss_wkd_f=__wkd_f),
}
