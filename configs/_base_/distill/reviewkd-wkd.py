# Method:   ReviewKD + WKD: ReviewKD on the pyramid, WKD-L and WKD-F on RoIs
# For:      two-stage, cascade, from-cascade
_base_ = ['../terms/reviewkd.py', '../terms/wkd-l.py', '../terms/wkd-f.py']

distill = dict(
    loss_reviewkd=_base_.pop('loss_reviewkd'),
    loss_wkd_l=_base_.pop('loss_wkd_l'),
    loss_wkd_f=_base_.pop('loss_wkd_f'),
)
