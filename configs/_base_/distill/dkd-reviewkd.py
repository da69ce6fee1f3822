# Method:   DKD + ReviewKD: DKD on RoI logits and ReviewKD on the pyramid
# For:      two-stage, cascade, from-cascade
_base_ = ['../terms/dkd.py', '../terms/reviewkd.py']

distill = dict(
    loss_dkd=_base_.pop('loss_dkd'),
    loss_reviewkd=_base_.pop('loss_reviewkd'),
)
