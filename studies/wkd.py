# The WKD terms on the mini set, beside the plain student.
#
# Command: python tools/compare.py studies/wkd.py
# Takes:   per seed as many trainings of configs/mini as there are methods; plus the teacher's
title = 'WKD on the mini set'
metric = 'coco/bbox_mAP'
seeds = [1, 2, 3, 4, 5]
references = ['plain']

prepare = [
    dict(name='data', command=['python', 'tools/make_mini_dataset.py']),
    dict(
        name='teacher',
        config='configs/mini/faster-rcnn_teacher.py',
        work_dir='work_dirs/mini/faster-rcnn_teacher',
    ),
]
methods = dict(
    plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'),
    wkd_l=dict(title='WKD-L', config='configs/mini/wkd-l.py'),
    wkd_f=dict(title='WKD-F', config='configs/mini/wkd-f.py'),
    wkd_f_fpn=dict(title='WKD-F on the FPN', config='configs/mini/wkd-f_fpn.py'),
    wkd_lf=dict(title='WKD-L + WKD-F', config='configs/mini/wkd-lf.py'),
)
