# WKD-F on the FPN from a detector of two stages to one of one stage: P3 is level 1 of the teacher
# (P2 ... P6) and level 0 of the student (P3 ... P7).
_base_ = 'wkd_f_fpn.py'

loss_wkd_f_fpn = dict(levels=[0], teacher_levels=[1])
