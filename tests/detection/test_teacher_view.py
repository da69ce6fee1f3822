"""The teacher's view: its own input, and maps in the student's sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.data_preprocessors import DetDataPreprocessor, MultiBranchDataPreprocessor
from mmdet.registry import MODELS

from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.detection.teacher_input import TeacherInput
from wkd_det.detection.teacher_view import DetectorTeacherView
from wkd_det.testing import distilled_config, random_batch, wkd_f_neck_term, wkd_f_term

SIZES = [(70, 96), (96, 50)]
# Pixels of up to 255 pass through one product and one sum in float32: relative errors of 2^-24
# each, before a division by a standard deviation >= 1 on either side.
EXACT = dict(rtol=0, atol=255 * 2**-24 * 4)

PREPROCESSORS = [
    dict(mean=[120.0, 115.0, 100.0], std=[58.0, 57.0, 59.0], bgr_to_rgb=True, pad_size_divisor=32),
    dict(mean=[103.5, 116.3, 123.7], std=[1.0, 1.0, 1.0], pad_size_divisor=32),
    dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0], bgr_to_rgb=True, pad_size_divisor=64),
    dict(mean=[7.0], std=[3.0], pad_size_divisor=1),
    dict(pad_size_divisor=32, pad_value=114),
]


def both(student, teacher, sizes=SIZES):
    """What the teacher's preprocessor makes of the images, and what is made of the student's."""
    student, teacher = DetDataPreprocessor(**student), DetDataPreprocessor(**teacher)
    batch = random_batch(sizes)
    expected = teacher(copy.deepcopy(batch), True)['inputs']
    inputs = student(copy.deepcopy(batch), True)['inputs']
    return expected, TeacherInput(student, teacher)(inputs, sizes)


@pytest.mark.parametrize('teacher', PREPROCESSORS)
@pytest.mark.parametrize('student', PREPROCESSORS)
def test_teacher_sees_what_its_own_preprocessor_gives(student, teacher):
    expected, got = both(student, teacher)
    torch.testing.assert_close(got, expected, **EXACT)


statistics = st.none() | st.tuples(
    st.tuples(*[st.floats(0, 255, width=32)] * 3), st.tuples(*[st.floats(1, 255, width=32)] * 3)
)
preprocessors = st.builds(
    lambda numbers, flips, divisor, padding: dict(
        mean=numbers and numbers[0],
        std=numbers and numbers[1],
        bgr_to_rgb=flips,
        pad_size_divisor=divisor,
        pad_value=padding,
    ),
    statistics,
    st.booleans(),
    st.sampled_from([1, 7, 32, 128]),
    st.sampled_from([0, 114]),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    student=preprocessors,
    teacher=preprocessors,
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3),
)
def test_any_pair_of_preprocessors_on_images_of_any_size(student, teacher, sizes):
    expected, got = both(student, teacher, sizes)
    torch.testing.assert_close(got, expected, **EXACT)


def test_equal_preprocessors_pass_the_batch_through():
    preprocessor = DetDataPreprocessor(**PREPROCESSORS[0])
    inputs = preprocessor(random_batch(SIZES), True)['inputs']
    assert TeacherInput(preprocessor, copy.deepcopy(preprocessor))(inputs, SIZES) is inputs


def test_a_step_reads_no_value_back(monkeypatch):
    """Reading one back makes the host wait for a GPU; what differs is known from the start."""
    student, teacher = (DetDataPreprocessor(**PREPROCESSORS[index]) for index in (0, 1))
    inputs = student(random_batch(SIZES), True)['inputs']
    teacher_input = TeacherInput(student, teacher)

    def read(*args):
        raise AssertionError('a value was read back')

    for name in ('item', 'tolist', 'cpu', '__bool__', '__float__', '__int__'):
        monkeypatch.setattr(torch.Tensor, name, read)
    teacher_input(inputs, SIZES)


def test_half_precision_keeps_its_type():
    student, teacher = (DetDataPreprocessor(**PREPROCESSORS[index]) for index in (0, 1))
    inputs = student(random_batch(SIZES), True)['inputs'].half()
    assert TeacherInput(student, teacher)(inputs, SIZES).dtype == torch.float16


def test_preprocessor_of_another_kind():
    plain = DetDataPreprocessor(**PREPROCESSORS[0])
    other = MultiBranchDataPreprocessor(dict(type='DetDataPreprocessor'))
    for pair, owner in (((plain, other), 'teacher'), ((other, plain), 'student')):
        with pytest.raises(ValueError, match=f'of the {owner} must be .*got MultiBranchDataPre'):
            TeacherInput(*pair)


def own_and_fitted(model, sizes):
    """Maps of the teacher on the batch of its own preprocessor, and those that taps are given."""
    teacher = model.distiller.teacher.module
    batch = random_batch(sizes)
    with torch.no_grad():
        own = teacher.extract_feat(teacher.data_preprocessor(copy.deepcopy(batch), True)['inputs'])
    data = model.data_preprocessor(batch, True)
    inputs = data['inputs']
    adapt = TeacherInput(model.data_preprocessor, teacher.data_preprocessor)
    student = DetectorStudentView(model, inputs, data['data_samples'])
    assert student.image_sizes == sizes
    fitted = DetectorTeacherView(model.distiller.teacher, adapt, student).maps('neck')
    return own, fitted, model.neck(model.backbone(inputs))


@pytest.mark.parametrize('divisor', [1, 32, 64, 128])
@pytest.mark.parametrize('sizes', [SIZES, [(33, 200)], [(100, 161), (40, 40)]])
def test_maps_of_another_padding_meet_those_of_the_student(teacher_section, divisor, sizes):
    """They are the teacher's own, cut or extended behind the image to the student's size."""
    preprocessor = dict(pad_size_divisor=divisor, mean=[103.5, 116.3, 123.7], std=[1.0, 1.0, 1.0])
    section = dict(teacher_section, overrides=dict(data_preprocessor=preprocessor))
    model = MODELS.build(distilled_config(section, dict(loss_neck=wkd_f_neck_term())))
    model.init_weights()
    own, fitted, student = own_and_fitted(model, sizes)
    for level, (map_, other, student_map) in enumerate(zip(own, fitted, student)):
        assert other.shape[-2:] == student_map.shape[-2:]
        height, width = (min(a, b) for a, b in zip(map_.shape[-2:], other.shape[-2:]))
        # Inputs differ by float32 round-off, which 20 layers of this network do not enlarge much.
        torch.testing.assert_close(
            other[..., :height, :width], map_[..., :height, :width], rtol=1e-3, atol=1e-4
        )
        stride = 4 * 2**level
        assert height * stride >= max(size[0] for size in sizes)  # nothing of an image is cut


@pytest.mark.parametrize('divisor', [1, 128])
def test_losses_with_a_teacher_of_another_padding(teacher_section, divisor):
    section = dict(
        teacher_section, overrides=dict(data_preprocessor=dict(pad_size_divisor=divisor))
    )
    terms = dict(loss_neck=wkd_f_neck_term(levels=None), loss_wkd_f=wkd_f_term())
    model = MODELS.build(distilled_config(section, terms))
    model.init_weights()
    data = model.data_preprocessor(random_batch(SIZES), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert all(losses[name].isfinite() and losses[name] > 0 for name in terms)
