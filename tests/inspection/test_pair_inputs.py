"""What preprocessors and first convolutions of a pair do otherwise."""

from __future__ import annotations

from mmdet.models import DetDataPreprocessor
from torch import nn

from wkd_det.classification.data import ImagePreprocessor
from wkd_det.inspection.pairs.inputs import input_rows


class Model(nn.Module):
    """A convolution behind a preprocessor."""

    def __init__(self, preprocessor, channels=3):
        super().__init__()
        self.data_preprocessor = preprocessor
        self.conv = nn.Conv2d(channels, 4, 1)


def rows(student, teacher):
    found = input_rows(student, teacher)
    return {row.name: (row.student, row.teacher) for row in found if row.differs}


def detector(channels=3, **options):
    options.setdefault('mean', [1.0, 2.0, 3.5])
    options.setdefault('std', [4.0, 5.0, 6.0])
    return Model(DetDataPreprocessor(**options), channels)


def test_equal_preprocessors_do_not_differ():
    assert rows(detector(), detector()) == {}


def test_statistics_channels_and_padding_differ():
    other = detector(
        mean=[0.0, 0.0, 0.0], bgr_to_rgb=True, pad_size_divisor=32, pad_value=114, channels=1
    )
    assert rows(detector(), other) == {
        'mean': ('1, 2, 3.5', '0, 0, 0'),
        'channels of the file': ('as they are', 'swapped (BGR to RGB)'),
        'size divisor': ('1', '32'),
        'padding value': ('0', '114'),
        'first convolution': ('3 channels', '1 channels'),
    }


def test_a_preprocessor_without_statistics():
    other = Model(DetDataPreprocessor())
    assert rows(detector(), other)['mean'] == ('1, 2, 3.5', 'none')


def test_a_bare_network_takes_what_the_student_takes():
    student = Model(ImagePreprocessor(mean=[1.0], std=[2.0]))
    bare = nn.Sequential(nn.Conv2d(1, 4, 1))
    assert rows(student, bare) == {'first convolution': ('3 channels', '1 channels')}
    alone = input_rows(student, None)
    assert [row.teacher for row in alone] == [None] * len(alone)
    assert {row.name: row.student for row in alone}['std'] == '2'
