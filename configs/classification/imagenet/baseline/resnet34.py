# resnet34, teacher of ImageNet.
#
# Method:   plain training
# Pair:     none
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh configs/classification/imagenet/baseline/resnet34.py 4 --amp
# Expected: not yet run; 73.31 top-1 in the paper
_base_ = [
    '../../../_base_/models/classifier_imagenet.py',
    '../../../_base_/datasets/imagenet.py',
    '../../../_base_/schedules/imagenet_100e.py',
]

model = dict(network=dict(type='TorchvisionModel', name='resnet34', num_classes=1000))
work_dir = 'work_dirs/imagenet/resnet34'
