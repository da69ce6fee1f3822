# WKD-L alone under each class interrelation on the mini set, a constant cost as control.
#
# Command: python tools/compare.py studies/interrelation.py
# Runs:    5 per cost and 5 of the plain student; the cost files are built from the teacher first
_base_ = '_base_/mini.py'

title = 'Class costs of WKD-L on the mini set'
references = ['plain', 'constant']
length = 200  # of 500: fifty runs in under two hours on one core

teacher = [
    'configs/mini/faster-rcnn_teacher.py',
    'work_dirs/mini/faster-rcnn_teacher/iter_600.pth',
]
files = {
    method: f'work_dirs/mini/interrelation/{method}.safetensors'
    for method in (
        'cka-linear',
        'cka-polynomial',
        'cka-rbf',
        'cosine-centroid',
        'cosine-centroid-centred',
        'gaussian-diag',
        'gaussian-full',
    )
}
prepare = [
    *_base_.prepare,
    *(
        dict(
            name=method,
            command=[
                'python', 'tools/build_interrelation.py', *teacher, '--method', method,
                '--output', path, '--force',
            ],
            makes=path,
            needs=teacher[1:],
        )
        for method, path in files.items()
    ),
]  # fmt: skip
cost = 'model.distill.loss_wkd_l.loss.cost'
methods = dict(
    plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'),
    constant=dict(
        title='constant cost',
        config='configs/mini/wkd-l.py',
        overrides={cost: dict(_delete_=True, type='ConstantCost')},
    ),
    classifier=dict(
        title='classifier rows',
        config='configs/mini/wkd-l.py',
        overrides={cost: dict(_delete_=True, type='ClassifierCost')},
    ),
    classifier_centred=dict(
        title='classifier rows, centred',
        config='configs/mini/wkd-l.py',
        overrides={cost: dict(_delete_=True, type='ClassifierCost', center=True)},
    ),
    **{
        method: dict(
            title=method,
            config='configs/mini/wkd-l.py',
            overrides={cost: dict(_delete_=True, type='FileCost', path=path)},
        )
        for method, path in files.items()
    },
)
del teacher, files, cost
