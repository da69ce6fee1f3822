# USKD, resnet8 on the digits of scikit-learn, without a teacher.
#
# Method:   USKD: the target class weighted, the others by rank, from two classifiers
# Pair:     resnet8
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/uskd_alone.py
# Expected: not yet run
_base_ = ['../../_base_/pairs/digits-alone_120i.py', '../../_base_/distill/classification/uskd.py']

model = dict(distill=_base_.pop('distill'))
