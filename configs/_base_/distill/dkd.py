# Method:   DKD: decoupled divergences of the class logits of the RoIs
# For:      two-stage, cascade, from-cascade
_base_ = '../terms/dkd.py'

distill = dict(
    loss_dkd=_base_.pop('loss_dkd'),
)
