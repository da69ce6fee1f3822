"""Specs of comparisons on disk, and results as runs keep them."""

from commands import ROOT

STUDENT = 'configs/mini/faster-rcnn_student.py'
WKD_L = 'configs/mini/wkd-l.py'
WEIGHT = 'model.distill.loss_wkd_l.loss.loss_weight'
TOOLS = ROOT / 'tools'


def write_spec(folder, **changes):
    """Write a spec of the plain student and WKD-L; changes replace or, by None, remove keys."""
    content = dict(
        metric='coco/bbox_mAP',
        seeds=[1, 2],
        length=40,
        references=['plain'],
        methods=dict(
            plain=dict(config=STUDENT),
            wkd=dict(config=WKD_L, title='WKD-L', weight=WEIGHT),
        ),
        work_dir=str(folder / 'work'),
    )
    content.update(changes)
    path = folder / 'spec.py'
    path.write_text(
        '\n'.join(f'{key} = {value!r}' for key, value in content.items() if value is not None)
    )
    return path


def result(value, *, seconds=0.5, memory=100.0, curve=None, losses=None):
    return dict(
        metrics={'coco/bbox_mAP_50': 2 * value, 'coco/bbox_mAP': value},
        curve=curve or {'40': value},
        losses=losses or {'20': 2.0, '40': 1.0},
        seconds_per_step=seconds,
        peak_memory=memory,
        memory_of='process',
        starts=1,
        fingerprint='abc',
    )
