# WKD-L between two Cascade R-CNNs, stage by stage on the student's RoIs of that stage, weighed as
# MMDetection weighs the losses of the stages.
_base_ = 'wkd_l.py'

loss_wkd_l = dict(stage=[0, 1, 2], stage_weights=[1, 0.5, 0.25])
