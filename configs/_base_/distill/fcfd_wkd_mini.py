# FCFD with WKD for the mini data set: 8 x 8 RoI features in 2 x 2 cells, as WKD-F has them there.
_base_ = 'fcfd_wkd.py'

fcfd_wkd = dict(loss_wkd_f=dict(roi_size=8, loss=dict(grid=2)))
