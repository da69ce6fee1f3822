# Method:   WKD-L-dense: WKD-L for heads with a sigmoid for each class, background as a bin
# For:      one-stage, gfl, anchor-free, rtmdet
_base_ = '../terms/wkd-l-dense.py'

distill = dict(loss_wkd_l_dense=_base_.pop('loss_wkd_l_dense'))
