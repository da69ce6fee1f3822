# WKD-L + WKD-F, resnet34 to resnet18 on ImageNet, as the paper has it.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     resnet34 of torchvision (73.31 top-1 in the paper) to resnet18
# Needs:    data/imagenet (train and val, one folder a synset);
#           class costs in data/interrelation/imagenet_resnet34_cka.safetensors
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-lf_resnet34-to-resnet18_paper.py 4 --amp
# Expected: not yet run
_base_ = './wkd-lf_resnet34-to-resnet18_reference.py'

model = dict(
    distill=dict(
        loss_wkd_l=dict(
            loss=dict(
                cost=dict(path='data/interrelation/imagenet_resnet34_cka.safetensors'),
                num_iters=9,
            )
        ),
        loss_wkd_f=dict(loss=dict(grid=1, unbiased=False)),
    ),
)
optim_wrapper = dict(optimizer=dict(nesterov=False))
custom_hooks = []
work_dir = 'work_dirs/imagenet/wkd-lf_resnet34-to-resnet18_paper'
