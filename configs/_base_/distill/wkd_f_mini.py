# WKD-F on RoIs of the mini data set, whose digits span 4 to 10 pixels of the stride-4 map:
# 8 x 8 features in 2 x 2 cells.
_base_ = 'wkd_f.py'

loss_wkd_f = dict(roi_size=8, loss=dict(grid=2))
