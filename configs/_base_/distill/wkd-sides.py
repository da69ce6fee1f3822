# Method:   WKD-sides: Wasserstein distance of the distributions of the sides of boxes
# For:      gfl
_base_ = '../terms/wkd-sides.py'

distill = dict(loss_wkd_sides=_base_.pop('loss_wkd_sides'))
