# Zipf's LS, resnet8 on the digits of scikit-learn, without a teacher.
#
# Method:   Zipf's LS: the other classes by the rank that the pixels of the last map give them
# Pair:     resnet8
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/zipf_alone.py
# Expected: not yet run
_base_ = ['../../_base_/pairs/digits-alone_120i.py', '../../_base_/distill/classification/zipf.py']

model = dict(distill=_base_.pop('distill'))
