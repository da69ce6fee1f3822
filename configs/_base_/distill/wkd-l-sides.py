# Method:   WKD-L-dense + WKD-sides: Wasserstein distances on class logits and sides of boxes
# For:      gfl
# Settings: wkd-l-dense, wkd-sides
#
# The weights of both are those that each has alone.
_base_ = ['../terms/wkd-l-dense.py', '../terms/wkd-sides.py']

distill = dict(
    loss_wkd_l_dense=_base_.pop('loss_wkd_l_dense'),
    loss_wkd_sides=_base_.pop('loss_wkd_sides'),
)
