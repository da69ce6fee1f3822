# WKD-L + WKD-F on the mini data set.
#
# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher
#           (python tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-lf.py
# Expected: mAP 0.671 (seed 0)
_base_ = [
    'faster-rcnn_student.py',
    '../_base_/teachers/faster-rcnn_mini.py',
    '../_base_/distill/wkd_l.py',
    '../_base_/distill/wkd_f_mini.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_l=_base_.pop('loss_wkd_l'), loss_wkd_f=_base_.pop('loss_wkd_f')),
)

work_dir = 'work_dirs/mini/wkd-lf'
