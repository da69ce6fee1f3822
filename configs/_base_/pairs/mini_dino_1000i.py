# mini data set, DINO, 1000 steps.
#
# Teacher:  DINO ResNet-18 of 32 base channels, three decoder layers
# Student:  DINO ResNet-18 of 16, two decoder layers
# Kind:     query
# Needs:    data/mini_digits (python tools/make_mini_dataset.py), the student's backbone (python
#           tools/train.py configs/mini/gfl_student.py) and the trained teacher (python
#           tools/train.py configs/mini/dino_teacher.py)
# Command:  python tools/train.py configs/mini/METHOD_dino.py
_base_ = '../../mini/dino_student.py'
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledDINO',
    teacher=dict(
        config='wkd_det::mini/dino_teacher.py',
        checkpoint='work_dirs/mini/dino_teacher/iter_1500.pth',
    ),
)

# A scene has at most six digits, and the teacher 20 queries and three decoder layers, of which the
# student's two follow the last. Its memory has one level of 6 x 6 pixels.
__pairs = dict(top=10, layers=[0, 1], teacher_layers=[1, 2])
settings = {
    'kd-query': dict(loss_kd_query=__pairs, loss_box_query=__pairs),
    'wkd-l-query': dict(loss_wkd_l_query=__pairs, loss_box_query=__pairs),
    'wkd-f-memory': dict(loss_wkd_f_memory=dict(loss=dict(grid=3))),
}
