# Born-Again ResNet-18 on ImageNet, generation 0: the teacher of generation 1.
#
# Method:   plain training
# Pair:     none
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh \
#     configs/classification/imagenet/baseline/born-again_gen0_resnet18.py 4 --amp
# Expected: not yet run
_base_ = 'resnet18.py'

work_dir = 'work_dirs/imagenet/born-again_gen0_resnet18'
