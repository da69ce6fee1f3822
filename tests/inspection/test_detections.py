"""Detectors opened, and their detections painted."""

import matplotlib as mpl
import pytest
from mmengine.config import Config

from mini_dataset.digits import CLASSES
from wkd_det.inspection.detections import open_detector, paint_detections


def test_a_distilled_student_opens_without_its_teacher(files):
    opened = open_detector(str(files / 'distilled.py'), files / 'distilled.pth')
    assert type(opened.module).__name__ == 'FasterRCNN'
    assert opened.class_names == list(CLASSES)
    with pytest.raises(KeyError, match='no model section'):
        open_detector(Config(dict(a=1)), 'x.pth')


def test_detections_are_painted_next_to_the_truth(files, tmp_path):
    config = Config.fromfile(files / 'plain.py')
    path = paint_detections(
        {'plain': (config, files / 'plain.pth')},
        files / 'data/annotations/instances_val.json',
        files / 'data/val',
        tmp_path / 'new/picture.png',
        scenes=2,
        score_threshold=0.0,
    )
    assert path == tmp_path / 'new/picture.png'
    height, width = mpl.image.imread(path).shape[:2]
    assert (width, height) == (520, 540)  # two columns of 2.6 inches, two rows of 2.7
