"""Class distances: from a classifier, from files, and the files themselves."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from safetensors import safe_open
from safetensors.torch import save_file
from torch.testing import assert_close

from wkd_det.costs.files import read_cost_file, write_cost_file
from wkd_det.costs.sources import ClassifierCost, FileCost

# Float64 rounding of a cosine.
EXACT = dict(rtol=1e-12, atol=1e-12)
NAMES = ['ant', 'bee', 'cat', 'background']


def distances(classes=4):
    """Different in every entry, so that an order shows; exact in float32."""
    upper = torch.arange(1.0, classes * classes + 1).view(classes, classes).triu(1) / 32
    return upper + upper.t()


class FixedTap:
    """What a cost source asks of a tap."""

    def __init__(self, rows=None, names=None):
        self.rows, self.names = rows, names

    def classifier_rows(self, module):
        assert module == 'the network'
        return self.rows

    def class_names(self, teacher):
        assert teacher.module == 'the network'
        return self.names


TEACHER = SimpleNamespace(module='the network')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cost.safetensors'


# From the classifier


def test_classifier_rows_by_hand():
    rows = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [1.0, 1.0]])
    distance = ClassifierCost()(FixedTap(rows), TEACHER)
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
        assert_close(ClassifierCost(center=center)(FixedTap(rows), TEACHER), expected, **EXACT)


def test_classifier_rows_of_a_half_precision_teacher_that_wants_gradients():
    rows = torch.randn(6, 9).half().requires_grad_()
    distance = ClassifierCost()(FixedTap(rows), TEACHER)
    assert not distance.requires_grad
    expected = ClassifierCost()(FixedTap(rows.detach().double()), TEACHER)
    assert_close(distance, expected, **EXACT)


def test_a_class_without_direction():
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match='not be zero to have a direction, got class 1'):
        ClassifierCost()(FixedTap(rows), TEACHER)


# Files: written and read


@pytest.mark.parametrize('as_string', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_what_was_written_is_read(path, as_string, dtype):
    given = distances().to(dtype).requires_grad_()
    write_cost_file(str(path) if as_string else path, given, tuple(NAMES), method='cka', count=3)
    content = read_cost_file(str(path) if as_string else path)
    assert content.distance.dtype == torch.float32
    assert torch.equal(content.distance, distances())
    assert content.class_names == NAMES
    assert content.metadata == dict(method='cka', count=3)
    with safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['wkd_det'])
    assert header == dict(method='cka', count=3, class_names=NAMES)
    assert os.listdir(path.parent) == [path.name]


def test_what_is_not_contiguous_is_written_too(path):
    wide = torch.zeros(4, 8)
    wide[:, ::2] = distances()
    write_cost_file(path, wide[:, ::2], NAMES)
    assert torch.equal(read_cost_file(path).distance, distances())


def test_a_failed_write_leaves_the_old_file_whole(path):
    write_cost_file(path, distances(), NAMES)
    before = path.read_bytes()
    with pytest.raises(TypeError, match='JSON'):
        write_cost_file(path, 2 * distances(), NAMES, method=object())
    with pytest.raises(ValueError, match='symmetric'):
        write_cost_file(path, distances().triu(), NAMES)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_writing_again_replaces(path):
    write_cost_file(path, distances(), NAMES)
    write_cost_file(path, 2 * distances(), NAMES)
    assert torch.equal(read_cost_file(path).distance, 2 * distances())


@pytest.mark.parametrize('zipped', [True, False])
def test_a_bare_matrix_as_the_reference_ships(tmp_path, zipped):
    torch.save(distances().double(), tmp_path / 'cka.pth', _use_new_zipfile_serialization=zipped)
    content = read_cost_file(tmp_path / 'cka.pth')
    assert content.distance.dtype == torch.float32
    assert torch.equal(content.distance, distances())
    assert content.class_names is None
    assert content.metadata == {}


@pytest.mark.parametrize(
    ('distance', 'names', 'message'),
    [
        (distances(), NAMES[:3], '4 different names, got 3, 3 of them different'),
        (distances(), ['ant', 'ant', 'bee', 'cat'], '4 different names, got 4, 3 of them'),
        (distances() + 1, NAMES, r'must be 0 on the diagonal .*, got 1.0 at .* = \(ant, ant\)'),
        (distances().triu(), NAMES, r'symmetric, got .* = \(.*\)'),
        (-distances(), NAMES, r'not be negative, got .* = \(ant, bee\)'),
        (distances() * torch.nan, NAMES, 'must be finite, got nan'),
        (distances().int(), NAMES, 'must be of a floating type, got torch.int32'),
        (distances()[:, :3], NAMES, 'must be square'),
    ],
)
def test_wrong_matrices_and_names_are_not_written(path, distance, names, message):
    with pytest.raises(ValueError, match=message):
        write_cost_file(path, distance, names)
    assert not os.listdir(path.parent)


def test_only_safetensors_are_written(tmp_path):
    with pytest.raises(ValueError, match='path must end with .safetensors, got .*cost.pth'):
        write_cost_file(tmp_path / 'cost.pth', distances(), NAMES)


# Files: damaged


def header(**content):
    return {'wkd_det': json.dumps(content)}


@pytest.mark.parametrize(
    ('tensors', 'metadata'),
    [
        (dict(other=distances()), header(class_names=NAMES)),
        (dict(distance=distances()), None),
        (dict(distance=distances()), {'wkd_det': 'no json'}),
        (dict(distance=distances()), {'wkd_det': 'null'}),
        (dict(distance=distances()), {'wkd_det': '[]'}),
        (dict(distance=distances()), header(names=NAMES)),
        (dict(distance=distances()), header(class_names=None)),
        (dict(distance=distances()), header(class_names=3)),
    ],
    ids=['tensor', 'no header', 'no json', 'null', 'list', 'no names', 'null names', 'number'],
)
def test_safetensors_of_somebody_else(path, tensors, metadata):
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match='cost.safetensors is no cost file of wkd_det: '):
        read_cost_file(path)


def test_a_file_cut_anywhere(path):
    write_cost_file(path, distances(), NAMES)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match='cost.safetensors is no cost file of wkd_det'):
            read_cost_file(path)


@pytest.mark.parametrize(
    ('distance', 'names', 'message'),
    [
        (distances(), NAMES[:3], 'covers 4 classes, got 3 class names'),
        (distances().triu(), NAMES, 'must be symmetric'),
        (1 - distances(), NAMES, 'must be 0 on the diagonal .an interrelation is 1 there'),
    ],
)
def test_a_file_that_is_no_matrix_of_distances(path, distance, names, message):
    save_file(dict(distance=distance), path, header(class_names=names))
    with pytest.raises(ValueError, match=f'cost.safetensors: .*{message}'):
        read_cost_file(path)


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_no_such_file(tmp_path, suffix):
    message = f'not found: .*absent.{suffix}'
    with pytest.raises(FileNotFoundError, match=message):
        read_cost_file(tmp_path / f'absent.{suffix}')


def test_a_pth_file_that_holds_something_else(tmp_path):
    torch.save(dict(a=1), tmp_path / 'cost.pth')
    with pytest.raises(ValueError, match='cost.pth holds a dict, not a tensor'):
        read_cost_file(tmp_path / 'cost.pth')
    torch.save(torch.ones(3), tmp_path / 'cost.pth')
    with pytest.raises(ValueError, match='cost.pth: distance must be square'):
        read_cost_file(tmp_path / 'cost.pth')


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('suffix', ['pth', 'pt', 'bin'])
def test_a_malicious_cost_file_is_refused_and_nothing_runs(tmp_path, suffix):
    torch.save(Touch(tmp_path / 'marker'), tmp_path / f'evil.{suffix}')
    with pytest.raises(ValueError, match=f'evil.{suffix} was refused'):
        read_cost_file(tmp_path / f'evil.{suffix}')
    assert not (tmp_path / 'marker').exists()


# As the source of a loss


def test_rows_follow_the_order_of_the_logits(path):
    write_cost_file(path, distances(), NAMES)
    for wanted in (NAMES, NAMES[::-1], ['cat', 'ant', 'background'], ['bee', 'cat']):
        distance = FileCost(path)(FixedTap(names=wanted), TEACHER)
        order = [NAMES.index(name) for name in wanted]
        for row, one in enumerate(order):
            for column, other in enumerate(order):
                assert distance[row, column] == distances()[one, other]


def test_by_position_trusts_the_order(path, tmp_path):
    write_cost_file(path, distances(), NAMES)
    torch.save(distances(), tmp_path / 'cost.pth')
    for file in (path, str(tmp_path / 'cost.pth')):
        source = MODELS.build(dict(type='FileCost', path=file, by_position=True))
        assert torch.equal(source(FixedTap(names=NAMES[::-1]), TEACHER), distances())


def test_a_class_that_the_file_lacks(path):
    write_cost_file(path, distances(), NAMES)
    with pytest.raises(
        ValueError,
        match=r"has nothing for the class 'dog'; it has 'ant', 'bee', 'cat', 'background'",
    ):
        FileCost(path)(FixedTap(names=['ant', 'dog']), TEACHER)


def test_names_are_needed_on_both_sides(path, tmp_path):
    write_cost_file(path, distances(), NAMES)
    torch.save(distances(), tmp_path / 'cost.pth')
    with pytest.raises(ValueError, match="the teacher's checkpoint has no class names to match"):
        FileCost(path)(FixedTap(names=None), TEACHER)
    message = 'the file .*cost.pth has no class names to match; set by_position=True'
    with pytest.raises(ValueError, match=message):
        FileCost(tmp_path / 'cost.pth')(FixedTap(names=NAMES), TEACHER)


def test_the_file_is_opened_when_training_starts_only(tmp_path):
    source = FileCost(tmp_path / 'absent.safetensors')
    with pytest.raises(FileNotFoundError, match='absent.safetensors'):
        source(FixedTap(names=NAMES), TEACHER)
