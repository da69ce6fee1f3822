# Method:   WKD-L: discrete Wasserstein distance on the class logits of the RoIs
# For:      two-stage, cascade, from-cascade
_base_ = '../terms/wkd-l.py'

distill = dict(
    loss_wkd_l=_base_.pop('loss_wkd_l'),
)
