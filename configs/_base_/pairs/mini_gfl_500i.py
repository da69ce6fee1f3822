# mini data set, GFL, 500 steps.
#
# Teacher:  GFL ResNet-18 of 32 base channels
# Student:  GFL ResNet-18 of 16
# Kind:     gfl
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher
#           (python tools/train.py configs/mini/gfl_teacher.py)
# Command:  python tools/train.py configs/mini/METHOD_gfl.py
_base_ = '../../mini/gfl_student.py'
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledGFL',
    teacher=dict(
        config='wkd_det::mini/gfl_teacher.py',
        checkpoint='work_dirs/mini/gfl_teacher/iter_1000.pth',
    ),
)

# The pyramid has two levels, and 12 x 12 pixels at the first, which nearly all digits are assigned
# to. A branch of the heads has two convolutions: CrossKD crosses behind the first.
__crossed = dict(depth=1)
__both = dict(levels=[0, 1])
settings = {
    'crosskd': dict(
        loss_crosskd_cls=__crossed, loss_crosskd_reg=__crossed, loss_crosskd_giou=__crossed
    ),
    'fitnet': dict(loss_fitnet=__both),
    'nst': dict(loss_nst=__both),
    'pkd': dict(loss_pkd=__both),
    'ickd': dict(loss_ickd=__both),
    'reviewkd': dict(loss_reviewkd=dict(connector=dict(mid_channels=32))),  # the teacher's width
    'wkd-f-fpn': dict(loss_wkd_f_fpn=dict(levels=[0], loss=dict(grid=6))),
}
