# Tf-KD, resnet8 on the digits of scikit-learn, without a teacher.
#
# Method:   Tf-KD: a virtual teacher that is right in 99 of 100 cases
# Pair:     resnet8
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/tfkd_alone.py
# Expected: not yet run
_base_ = ['../../_base_/pairs/digits-alone_120i.py', '../../_base_/distill/classification/tfkd.py']

model = dict(
    distill=_base_.pop('distill'),
    **_base_.pop('student'),
)
