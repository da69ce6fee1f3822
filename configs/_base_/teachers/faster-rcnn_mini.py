# Teacher: configs/mini/faster-rcnn_teacher.py, trained first. Paths are relative to the checkout.
teacher = dict(
    config='configs/mini/faster-rcnn_teacher.py',
    checkpoint='work_dirs/mini/faster-rcnn_teacher/iter_600.pth',
)
