# WKD-F, resnet50 to mobilenetv1 on ImageNet, as the paper has it.
#
# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# Pair:     resnet50 of torchvision to mobilenetv1
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/wkd/wkd-f_resnet50-to-mobilenetv1_paper.py 4 --amp
# Expected: not yet run
_base_ = './wkd-f_resnet50-to-mobilenetv1_reference.py'

model = dict(
    distill=dict(
        loss_wkd_f=dict(loss=dict(grid=1, unbiased=False, loss_weight=0.001)),
    ),
)
optim_wrapper = dict(optimizer=dict(nesterov=False))
custom_hooks = []
work_dir = 'work_dirs/imagenet/wkd-f_resnet50-to-mobilenetv1_paper'
