# MLKD, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   MLKD: probabilities and their relations over classes and images, in two views
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/mlkd_digits.py
# Expected: not yet run
_base_ = ['../../_base_/pairs/digits_120i.py', '../../_base_/distill/classification/mlkd.py']

model = dict(
    distill=_base_.pop('distill') | _base_.pop('settings').get('mlkd', {}),
    **_base_.pop('student'),
)
train_dataloader = dict(dataset=_base_.pop('train_dataset'))
