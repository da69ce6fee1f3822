"""Images that are not three channels of bytes: grey, multispectral, 16 bits, normalised before."""

import copy
import re

import numpy as np
import pytest
import torch
from mmcv.transforms import Normalize
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS

from precision import UINT16, needs_uint16
from wkd_det.detection.teacher_input import TeacherInput
from wkd_det.testing import (
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(64, 96), (50, 64)]
TERMS = dict(
    loss_wkd_l=wkd_l_term(),
    loss_wkd_f=wkd_f_term(),
    loss_neck=wkd_f_neck_term(),
    loss_module=dict(tap='backbone.layer3', loss=dict(type='FitNetLoss')),
)
COLOURS = dict(mean=[120.0, 115.0, 100.0], std=[58.0, 57.0, 59.0])


def detector(channels, **pixels):
    """A detector of images of so many channels; by default one mean for all of them."""
    pixels = pixels or dict(mean=[110.0], std=[60.0])
    model = tiny_faster_rcnn()
    model.backbone.in_channels = channels
    model.data_preprocessor = dict(type='DetDataPreprocessor', pad_size_divisor=32, **pixels)
    return model


def batch_of(channels, dtype=torch.uint8):
    batch = random_batch(SIZES)
    batch['inputs'] = [image.repeat(2, 1, 1)[:channels].to(dtype) for image in batch['inputs']]
    return batch


def build(tmp_path, student, teacher, terms):
    save_detector(teacher, tmp_path / 'teacher.pth')
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    model = MODELS.build(copy.deepcopy(distilled_from(student, section, terms)))
    model.init_weights()
    return model.train()


def step(model, batch):
    """Losses, and the batch that the teacher's backbone was given."""
    seen = []
    backbone = model.distiller.teacher.module.backbone
    with backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0])):
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert all(losses[name].isfinite() for name in model.distiller.terms)
    return losses, seen[0]


@pytest.mark.parametrize(
    ('channels', 'dtype'),
    [
        (1, torch.uint8),
        (5, torch.uint8),
        pytest.param(3, UINT16, marks=needs_uint16),
        pytest.param(1, UINT16, marks=needs_uint16),
    ],
)
def test_channels_and_depths(tmp_path, channels, dtype):
    model = build(tmp_path, detector(channels), detector(channels, mean=[7.0], std=[9.0]), TERMS)
    batch = batch_of(channels, dtype)
    if dtype == UINT16:
        batch['inputs'] = [(image.int() * 200).to(dtype) for image in batch['inputs']]
    teacher = model.distiller.teacher.module
    expected = teacher.data_preprocessor(copy.deepcopy(batch), True)['inputs']
    _, seen = step(model, batch)
    assert seen.shape[1] == channels
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    'teacher',
    [
        dict(mean=[7.0], std=[9.0]),
        dict(mean=[110.0], std=[60.0]),
        COLOURS,
        dict(COLOURS, bgr_to_rgb=True),
    ],
)
def test_a_grey_student_of_a_teacher_of_colours(tmp_path, teacher):
    model = build(tmp_path, detector(1), detector(3, **teacher), TERMS)
    batch = batch_of(1)
    colours = copy.deepcopy(batch)
    colours['inputs'] = [image.repeat(3, 1, 1) for image in batch['inputs']]
    expected = model.distiller.teacher.module.data_preprocessor(colours, True)['inputs']
    _, seen = step(model, batch)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(('own', 'other'), [(3, 1), (5, 3), (1, 4)])
def test_other_numbers_of_channels(tmp_path, own, other):
    message = (
        f'the student takes images of {own} channels and the teacher of {other}: they must be '
        'equal, or 1 and 3, where the teacher gets each grey image three times'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        build(tmp_path, detector(own), detector(other), dict(loss_wkd_l=wkd_l_term()))


def test_a_network_whose_stem_rearranges_pixels(tmp_path):
    """The first convolution of YOLOX takes 12 channels: the colours of blocks of 2 x 2 pixels."""
    model = tiny_detector('yolox/yolox_tiny_8xb8-300e_coco.py')
    model.backbone = dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    student = tiny_faster_rcnn()
    student.backbone = model.backbone
    student.neck.in_channels = [32, 64, 128]
    student.neck.num_outs = 5
    term = dict(tap='backbone.stage2', loss=dict(type='FitNetLoss'))
    built = build(tmp_path, student, student, dict(loss_x=term))
    assert built.probe_image(copy.deepcopy(built).to('meta')).shape[1] == 3
    assert built.distiller.terms['loss_x'].binding.slots[0].source == 32
    losses, seen = step(built, random_batch(SIZES))
    assert seen.shape[1] == 3


# Normalised in the pipeline


NORMALISED = [
    COLOURS,
    dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0]),
    dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
]


def normalised(values):
    batch = random_batch(SIZES)
    step = Normalize(**values, to_rgb=False)
    batch['inputs'] = [
        torch.from_numpy(
            np.ascontiguousarray(
                step(dict(img=image.permute(1, 2, 0).numpy().copy()))['img'].transpose(2, 0, 1)
            )
        )
        for image in batch['inputs']
    ]
    return batch


@pytest.mark.parametrize('values', NORMALISED)
def test_a_pipeline_that_normalises(tmp_path, values):
    student = detector(3, pad_value=0)
    model = build(tmp_path, student, detector(3, **COLOURS), TERMS)
    found = 'all values lie in [0, 1]' if values['std'][0] == 255 else 'of the values are negative'
    with pytest.raises(ValueError, match=re.escape(found)) as raised:
        step(model, normalised(values))
    assert 'is there a Normalize in the pipeline?' in str(raised.value)
    # Bytes go on, and so do pixels of an augmentation, a few of which are negative.
    batch = random_batch(SIZES)
    batch['inputs'] = [image.float() - 8 for image in batch['inputs']]
    assert step(model, batch)[0]['loss_wkd_l'] > 0


def test_a_pipeline_that_normalises_for_both(tmp_path):
    """Neither preprocessor does it: both networks want the batch as it is."""
    model = build(tmp_path, detector(3, pad_value=0), detector(3, pad_value=0), TERMS)
    data = model.data_preprocessor(normalised(COLOURS), True)
    _, seen = step(model, normalised(COLOURS))
    assert torch.equal(seen, data['inputs'])


def test_pixels_that_are_said_to_be_pixels():
    teacher = DetDataPreprocessor(**COLOURS)
    student = DetDataPreprocessor(mean=[0, 0, 0], std=[1, 1, 1])
    images = torch.full((1, 3, 4, 4), -20.0)
    found = TeacherInput(student, teacher)(images, [(4, 4)])
    assert torch.allclose(found[0, :, 0, 0], (-20 - teacher.mean.flatten()) / teacher.std.flatten())
    with pytest.raises(ValueError, match='100% of the values are negative'):
        TeacherInput(DetDataPreprocessor(), teacher)(images, [(4, 4)])
    # Another order of the channels alone leaves the values as they are.
    turned = TeacherInput(DetDataPreprocessor(), DetDataPreprocessor(bgr_to_rgb=True))
    assert torch.equal(turned(images, [(4, 4)]), images)


def test_only_the_first_batch_is_checked(monkeypatch):
    teacher_input = TeacherInput(DetDataPreprocessor(), DetDataPreprocessor(**COLOURS))
    images = torch.randint(0, 256, (2, 3, 8, 8)).float()
    sizes = [(8, 8), (8, 8)]
    teacher_input(images, sizes)

    def read(*args):
        raise AssertionError('a value was read back')

    for name in ('item', 'tolist', 'cpu', '__bool__', '__float__', '__int__', '__format__'):
        monkeypatch.setattr(torch.Tensor, name, read)
    teacher_input(images, sizes)
