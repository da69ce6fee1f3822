# WKD-L from a Cascade R-CNN to a detector of one stage of boxes. Its first stage has been trained
# on proposals, at the IoU threshold (0.5) that the student is trained at; the later ones expect
# refined boxes.
_base_ = 'wkd_l.py'

loss_wkd_l = dict(teacher_stage=0)
