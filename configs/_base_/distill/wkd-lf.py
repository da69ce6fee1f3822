# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# For:      two-stage, cascade, from-cascade
#
# The weights of both are those that each has alone.
_base_ = ['../terms/wkd-l.py', '../terms/wkd-f.py']

distill = dict(
    loss_wkd_l=_base_.pop('loss_wkd_l'),
    loss_wkd_f=_base_.pop('loss_wkd_f'),
)
