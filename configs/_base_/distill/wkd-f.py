# Method:   WKD-F on RoIs: Gaussian Wasserstein distance on the RoI features
# For:      two-stage, cascade, from-cascade
_base_ = '../terms/wkd-f.py'

distill = dict(
    loss_wkd_f=_base_.pop('loss_wkd_f'),
)
