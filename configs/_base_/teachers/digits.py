# Teacher: configs/classification/digits/baseline/resnet20_teacher.py, trained first.
teacher = dict(
    config='configs/classification/digits/baseline/resnet20_teacher.py',
    checkpoint='work_dirs/digits/resnet20_teacher/iter_240.pth',
)
