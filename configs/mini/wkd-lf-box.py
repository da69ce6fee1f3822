# WKD-L + WKD-F + boxes on the mini data set.
#
# Method:   WKD-L + WKD-F, and the boxes of the target class
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher
#           (python tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-lf-box.py
# Expected: not yet run
_base_ = [
    'faster-rcnn_student.py',
    '../_base_/teachers/faster-rcnn_mini.py',
    '../_base_/distill/wkd_l.py',
    '../_base_/distill/wkd_f_mini.py',
    '../_base_/distill/wkd_box.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_wkd_l=_base_.pop('loss_wkd_l'),
        loss_wkd_f=_base_.pop('loss_wkd_f'),
        loss_wkd_box=_base_.pop('loss_wkd_box'),
    ),
)

work_dir = 'work_dirs/mini/wkd-lf-box'
