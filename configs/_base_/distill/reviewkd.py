# Method:   ReviewKD: the fused pyramid at several resolutions
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free
_base_ = '../terms/reviewkd.py'

distill = dict(
    loss_reviewkd=_base_.pop('loss_reviewkd'),
)
