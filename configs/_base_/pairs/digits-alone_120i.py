# resnet8 on the digits of scikit-learn, without a teacher.
#
# Teacher:  none
# Student:  resnet8
# Kind:     alone
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/METHOD_alone.py
_base_ = '../../classification/digits/baseline/resnet8.py'
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(type='DistilledClassifier', image_size=32)
