"""Configs and checkpoints of small pairs on disk, as a user has them, and the command on them."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

import wkd_det  # noqa: F401  registers everything
from commands import ROOT, run
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from wkd_det.testing import save_detector, tiny_detector

SIDE = 64


def explain(*arguments, code=0):
    """Run ``python -m wkd_det explain`` in this process; return what it prints."""
    return run('tools/explain.py', *arguments, code=code)


def write_data(folder):
    """Six scenes, and the part of a config that reads them."""
    make_dataset(folder / 'data', train=4, val=2, size=SIDE, seed=0)
    return f"""
_root = '{folder}/data/'
_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=({SIDE}, {SIDE}), keep_ratio=True),
    dict(type='PackDetInputs'),
]
_annotations = _root + 'annotations/instances_'
train_dataloader = dict(batch_size=2, dataset=dict(data_root=_root, pipeline=_pipeline))
val_dataloader = dict(batch_size=2, dataset=dict(data_root=_root))
test_dataloader = dict(dataset=dict(data_root=_root))
val_evaluator = dict(ann_file=_annotations + 'val.json')
test_evaluator = dict(ann_file=_annotations + 'val.json')
train_cfg = dict(max_iters=2, val_interval=2)
"""


def write_detectors(folder):
    """A student and a wider teacher with its weights; return their paths and the checkpoint's."""
    init_default_scope('mmdet')
    (folder / 'student.py').write_text(
        f"_base_ = '{ROOT}/configs/mini/faster-rcnn_student.py'\n{write_data(folder)}"
    )
    (folder / 'teacher.py').write_text(
        """_base_ = 'student.py'
model = dict(
    neck=dict(out_channels=48),
    rpn_head=dict(in_channels=48, feat_channels=48),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=48), bbox_head=dict(in_channels=48)),
)
"""
    )
    config = Config.fromfile(folder / 'teacher.py')
    save_detector(config.model, folder / 'teacher.pth', class_names=list(CLASSES))
    return folder / 'student.py', folder / 'teacher.py', folder / 'teacher.pth'


def write_retinanet(folder):
    """A one-stage student on the same data."""
    config = Config.fromfile(folder / 'student.py')
    config.model = tiny_detector('retinanet/retinanet_r18_fpn_1x_coco.py', num_classes=10)
    path = Path(folder / 'retinanet.py')
    config.dump(path)
    return path
