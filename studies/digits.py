# WKD on the embedded digits: the classifier's side of the mini study, nothing to download.
#
# Command: python tools/compare.py studies/digits.py
# Runs:    5 of the plain student and of each method; the teacher is trained once, first
title = 'WKD on the digits'
metric = 'accuracy/top1'
seeds = [0, 1, 2, 3, 4]
references = ['plain']
prepare = [
    dict(
        name='teacher',
        config='configs/classification/digits/baseline/resnet20_teacher.py',
        work_dir='work_dirs/digits/resnet20_teacher',
    )
]
methods = dict(
    plain=dict(title='plain student', config='configs/classification/digits/baseline/resnet8.py'),
    wkd_l=dict(title='WKD-L', config='configs/classification/digits/wkd-l_digits.py'),
    wkd_f=dict(title='WKD-F', config='configs/classification/digits/wkd-f_digits.py'),
    wkd_lf=dict(title='WKD-L + WKD-F', config='configs/classification/digits/wkd-lf_digits.py'),
)
