# resnet20 to resnet8 on the digits of scikit-learn.
#
# Teacher:  resnet20
# Student:  resnet8
# Kind:     cnn
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/METHOD_digits.py
_base_ = '../../classification/digits/baseline/resnet8.py'
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=dict(
        config='wkd_det::classification/digits/baseline/resnet20_teacher.py',
        checkpoint='work_dirs/digits/resnet20_teacher/iter_240.pth',
    ),
)

__map = dict(connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')))
settings = {'wkd-f': dict(loss_wkd_f=__map), 'wkd-lf': dict(loss_wkd_f=__map)}
