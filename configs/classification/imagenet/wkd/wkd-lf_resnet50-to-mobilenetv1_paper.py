# WKD-L + WKD-F, resnet50 to mobilenetv1 on ImageNet, as the paper has it.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset);
#           class costs in data/interrelation/imagenet_resnet50_cka.safetensors
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-lf_resnet50-to-mobilenetv1_paper.py 4 --amp
# Expected: not yet run
_base_ = './wkd-lf_resnet50-to-mobilenetv1_reference.py'

model = dict(
    distill=dict(
        loss_wkd_l=dict(
            loss=dict(
                cost=dict(path='data/interrelation/imagenet_resnet50_cka.safetensors'),
                num_iters=9,
                sharpness=1.0,
            )
        ),
        loss_wkd_f=dict(loss=dict(grid=1, unbiased=False, loss_weight=0.001)),
    ),
)
optim_wrapper = dict(optimizer=dict(nesterov=False))
custom_hooks = []
work_dir = 'work_dirs/imagenet/wkd-lf_resnet50-to-mobilenetv1_paper'
