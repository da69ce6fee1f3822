# What the studies on the mini set share: its data, its teacher (trained once, for all studies and
# for the demo), the metric and the seeds.
metric = 'coco/bbox_mAP'
seeds = [1, 2, 3, 4, 5]
prepare = [
    dict(name='data', command=['python', 'tools/make_mini_dataset.py']),
    dict(
        name='teacher',
        config='configs/mini/faster-rcnn_teacher.py',
        work_dir='work_dirs/mini/faster-rcnn_teacher',
    ),
]
