# ReviewKD for the mini data set: fused maps as wide as the teacher's.
_base_ = 'reviewkd.py'

loss_reviewkd = dict(connector=dict(mid_channels=64))
