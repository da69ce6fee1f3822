# resnet18 on ImageNet, without a teacher.
#
# Teacher:  none
# Student:  resnet18
# Kind:     alone
# Needs:    data/imagenet (train and val, one folder a synset)
# Command:  bash tools/dist_train.sh configs/classification/imagenet/METHOD_resnet18_self.py 4 --amp
_base_ = '../../classification/imagenet/baseline/resnet18.py'
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(type='DistilledClassifier')
optim_wrapper = dict(optimizer=dict(nesterov=False))
