# ReviewKD on the mini data set.
#
# Method:   ReviewKD: the fused pyramid at several resolutions
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher
#           (python tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/reviewkd.py
# Expected: not yet run
_base_ = [
    'faster-rcnn_student.py',
    '../_base_/teachers/faster-rcnn_mini.py',
    '../_base_/distill/reviewkd_mini.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_reviewkd=_base_.pop('loss_reviewkd')),
)

work_dir = 'work_dirs/mini/reviewkd'
