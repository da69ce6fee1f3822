"""Sources of class distances: a classifier, files, prototypes, the constant control."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.costs.files import write_cost_file
from wkd_det.costs.interface import ClassTable, CostSource, adopt
from wkd_det.costs.similarity import cosine_interrelation
from wkd_det.costs.sources import ClassifierCost, ConstantCost, FileCost, PrototypeCost

# Float64 rounding of a cosine.
EXACT = dict(rtol=1e-12, atol=1e-12)
NAMES = ['ant', 'bee', 'cat', 'background']
PROTOTYPES = ['ant', 'bee', 'cat', 'dog']
WANTED = ['dog', 'ant', 'bee', 'background']


def table(rows=None, names=None):
    """Classes of a teacher with these rows or names."""
    return ClassTable(len(rows if rows is not None else names or ()), names, lambda: rows)


def distances(classes=4):
    """Different in every entry, so that an order shows; exact in float32."""
    upper = torch.arange(1.0, classes * classes + 1).view(classes, classes).triu(1) / 32
    return upper + upper.t()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cost.safetensors'


def prototypes(rows=4):
    return np.random.default_rng(0).standard_normal((rows, 7)) + 1


@pytest.fixture
def prototype_path(tmp_path):
    file = tmp_path / 'text.npz'
    np.savez(file, names=np.array(PROTOTYPES), prototypes=prototypes())
    return file


# The classifier, and files of distances


def test_background_without_a_row_is_equally_far_from_all_classes():
    """Sigmoids and Seesaw have none; it lies at the median of the measured distances."""
    rows = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [float('nan')] * 2])
    distance = ClassifierCost()(table(rows, NAMES))
    expected = [[0, 1, 2, 1], [1, 0, 1, 1], [2, 1, 0, 1], [1, 1, 1, 0]]
    assert_close(distance, torch.tensor(expected).double(), **EXACT)
    broken = torch.tensor([[2.0, 0.0], [float('nan')] * 2, [-1.0, 0.0]])
    with pytest.raises(ValueError, match='must be finite'):
        ClassifierCost()(table(broken))


def test_classifier_rows_by_hand():
    rows = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [1.0, 1.0]])
    distance = ClassifierCost()(table(rows))
    half = 1 - 0.5**0.5
    expected = torch.tensor(
        [[0, 1, 2, half], [1, 0, 1, half], [2, 1, 0, 2 - half], [half, half, 2 - half, 0]],
        dtype=torch.float64,
    )
    assert_close(distance, expected, **EXACT)


def test_classifier_rows_against_torch():
    rows = torch.randn(6, 9, dtype=torch.float64)
    for center in (False, True):
        used = rows - rows.mean(0) if center else rows
        expected = 1 - torch.nn.functional.cosine_similarity(used[:, None], used[None], dim=-1)
        assert_close(ClassifierCost(center=center)(table(rows)), expected, **EXACT)


def test_classifier_rows_of_a_half_precision_teacher_that_wants_gradients():
    rows = torch.randn(6, 9).half().requires_grad_()
    distance = ClassifierCost()(table(rows))
    assert not distance.requires_grad
    expected = ClassifierCost()(table(rows.detach().double()))
    assert_close(distance, expected, **EXACT)


def test_a_class_without_direction():
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match='not be zero to have a direction, got class 1'):
        ClassifierCost()(table(rows))


def test_rows_follow_the_order_of_the_logits(path):
    write_cost_file(path, distances(), NAMES)
    for wanted in (NAMES, NAMES[::-1], ['cat', 'ant', 'background'], ['bee', 'cat']):
        distance = FileCost(path)(table(names=wanted))
        order = [NAMES.index(name) for name in wanted]
        for row, one in enumerate(order):
            for column, other in enumerate(order):
                assert distance[row, column] == distances()[one, other]


def test_by_position_trusts_the_order(path, tmp_path):
    write_cost_file(path, distances(), NAMES)
    torch.save(distances(), tmp_path / 'cost.pth')
    for file in (path, str(tmp_path / 'cost.pth')):
        source = MODELS.build(dict(type='FileCost', path=file, by_position=True))
        assert torch.equal(source(table(names=NAMES[::-1])), distances())


def test_a_class_that_the_file_lacks(path):
    write_cost_file(path, distances(), NAMES)
    with pytest.raises(
        ValueError,
        match=r"has nothing for the class 'dog'; it has 'ant', 'bee', 'cat', 'background'",
    ):
        FileCost(path)(table(names=['ant', 'dog']))


def test_names_in_another_spelling(path):
    write_cost_file(path, distances(), ['traffic light', 'Bee', 'cat', 'background'])
    distance = FileCost(path)(table(names=['background', 'Traffic_Light', 'bee']))
    order = [3, 0, 1]
    assert torch.equal(distance, distances()[order][:, order])


def test_names_that_occur_twice(path, prototype_path):
    write_cost_file(path, distances(), NAMES)
    names = ['ant', 'background', 'cat', 'background']  # an object class, and the real one
    for source in (FileCost(path), PrototypeCost(prototype_path)):
        if isinstance(source, PrototypeCost):
            names = ['ant', 'bee', 'ant', 'background']
        twice = 'background' if isinstance(source, FileCost) else 'ant'
        message = (
            f"^the teacher, background included, has more than one class called '{twice}': classes "
            'are matched by name, so each name must occur once$'
        )
        with pytest.raises(ValueError, match=message):
            source(table(names=names))


def test_which_sources_go_by_name(path, prototype_path):
    assert FileCost(path).by_name
    assert PrototypeCost(prototype_path).by_name
    for source in (FileCost(path, by_position=True), ClassifierCost(), ConstantCost()):
        assert not source.by_name


def test_names_are_needed_on_both_sides(path, tmp_path):
    write_cost_file(path, distances(), NAMES)
    torch.save(distances(), tmp_path / 'cost.pth')
    message = (
        r"^the teacher's checkpoint has no class names to match: use one that has "
        r'\(meta.dataset_meta.classes\), say them with teacher.class_names=\[...\], or take '
        'distances that go by_position$'
    )
    with pytest.raises(ValueError, match=message):
        FileCost(path)(table(names=None))
    message = 'the file .*cost.pth has no class names to match; set by_position=True'
    with pytest.raises(ValueError, match=message):
        FileCost(tmp_path / 'cost.pth')(table(names=NAMES))


def test_the_file_is_opened_when_training_starts_only(tmp_path):
    source = FileCost(tmp_path / 'absent.safetensors')
    with pytest.raises(FileNotFoundError, match='absent.safetensors'):
        source(table(names=NAMES))


# Prototypes


@pytest.mark.parametrize('center', [False, True])
def test_classes_are_matched_by_name_and_background_is_neutral(prototype_path, center):
    distance = PrototypeCost(prototype_path, center=center)(table(names=WANTED))
    # Only the wanted ones enter the mean that is removed.
    rows = torch.from_numpy(prototypes())[[3, 0, 1]]
    expected = 1 - cosine_interrelation(rows, center=center)
    assert_close(distance[:3, :3], expected, **EXACT)
    median = sorted([expected[0, 1], expected[0, 2], expected[1, 2]])[1]
    assert torch.equal(distance[3, :3], median.expand(3))
    assert distance[3, 3] == 0


def test_background_of_the_file_or_of_the_user(tmp_path, prototype_path):
    given = MODELS.build(dict(type='PrototypeCost', path=prototype_path, background_distance=0.7))
    assert given(table(names=WANTED))[3].tolist() == [0.7, 0.7, 0.7, 0]
    file = tmp_path / 'five.npz'
    np.savez(file, names=np.array([*PROTOTYPES, 'background']), prototypes=prototypes(5))
    source = PrototypeCost(file, background_distance=0.7)
    rows = torch.from_numpy(prototypes(5))[[3, 0, 1, 4]]
    expected = 1 - cosine_interrelation(rows)
    assert_close(source(table(names=WANTED)), expected, **EXACT)


def test_classes_that_are_missing(prototype_path):
    with pytest.raises(ValueError, match=r"text.npz has nothing for the class 'cow'; it has 'ant'"):
        PrototypeCost(prototype_path)(table(names=['ant', 'cow']))
    message = (
        r"^the teacher's checkpoint has no class names to match: use one that has "
        r'\(meta.dataset_meta.classes\), say them with teacher.class_names=\[...\], or take '
        'distances that go by_position$'
    )
    with pytest.raises(ValueError, match=message):
        PrototypeCost(prototype_path)(table(names=None))


def test_a_prototype_without_direction(tmp_path):
    rows = prototypes()
    rows[1] = 0
    np.savez(tmp_path / 'a.npz', names=np.array(PROTOTYPES), prototypes=rows)
    with pytest.raises(ValueError, match='must not be zero to have a direction, got class bee'):
        PrototypeCost(tmp_path / 'a.npz')(table(names=PROTOTYPES))
    rows[1, 0] = np.nan
    np.savez(tmp_path / 'a.npz', names=np.array(PROTOTYPES), prototypes=rows)
    with pytest.raises(ValueError, match='must be finite, got NaN or infinity in class bee'):
        PrototypeCost(tmp_path / 'a.npz')(table(names=PROTOTYPES))


def test_options_are_checked(prototype_path):
    for value, rule in ((0, 'positive'), (-1, 'positive'), (float('inf'), 'finite')):
        with pytest.raises(ValueError, match=f'background_distance must be {rule}, got {value}'):
            PrototypeCost(prototype_path, background_distance=value)
        with pytest.raises(ValueError, match=f'value must be {rule}, got {value}'):
            ConstantCost(value=value)


def test_constant():
    distance = MODELS.build(dict(type='ConstantCost', value=0.25))(table(names=WANTED))
    assert torch.equal(distance, 0.25 * (1 - torch.eye(4)))


# Sources of users, as they were before 0.2


class Old:
    def __call__(self, tap, teacher):
        assert tap.class_names(teacher) == ['a', 'b']
        return 1 - torch.eye(tap.num_classes(teacher.module)) * tap.classifier_rows(None)


def test_a_source_of_tap_and_teacher_goes_on_working_with_a_warning():
    with pytest.warns(FutureWarning, match=r'Old takes \(tap, teacher\): derive it from'):
        source = adopt(Old())
    assert torch.equal(source(table(torch.ones(2, 2), ['a', 'b'])), 1 - torch.eye(2))


def test_other_sources_are_left_as_they_are():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for source in (ConstantCost(), lambda classes: torch.zeros(2, 2)):
            assert adopt(source) is source
    with pytest.raises(TypeError, match='a source of class distances must be callable, got int'):
        adopt(3)
    with pytest.raises(NotImplementedError):
        CostSource()(table(names=['a']))
