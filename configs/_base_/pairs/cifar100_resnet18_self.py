# ResNet18 on CIFAR-100, without a teacher.
#
# Teacher:  none
# Student:  ResNet18
# Kind:     alone
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there)
# Command:  python tools/train.py configs/classification/cifar100/METHOD_resnet18-32px_self.py --amp
_base_ = '../../classification/cifar100/baseline/resnet18.py'
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(type='DistilledClassifier', image_size=32)
