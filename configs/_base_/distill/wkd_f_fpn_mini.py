# WKD-F on the FPN for the mini data set: P2 (24 x 24 pixels, the level its RoIs are read from)
# in 6 x 6 cells of 4 x 4 pixels.
_base_ = 'wkd_f_fpn.py'

loss_wkd_f_fpn = dict(levels=[0], loss=dict(grid=6))
