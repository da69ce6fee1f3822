# WKD-F on the FPN of a detector whose pyramid starts at P3, as those of one stage do: P3 is level
# 0.
_base_ = 'wkd_f_fpn.py'

loss_wkd_f_fpn = dict(levels=[0])
