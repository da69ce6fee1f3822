"""Class distances from the user's prototypes, and the constant control."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from safetensors.torch import save_file
from torch.testing import assert_close

from wkd_det.costs.files import read_prototypes
from wkd_det.costs.sources import ConstantCost, PrototypeCost
from wkd_det.functional import cosine_interrelation

NAMES = ['ant', 'bee', 'cat', 'dog']
WANTED = ['dog', 'ant', 'bee', 'background']
TEACHER = SimpleNamespace(module='the network')
EXACT = dict(rtol=1e-12, atol=1e-12)


class FixedTap:
    def __init__(self, names):
        self.names = names

    def class_names(self, teacher):
        assert teacher is TEACHER
        return self.names

    def num_classes(self, module):
        assert module == 'the network'
        return len(self.names)


def prototypes(rows=4):
    return np.random.default_rng(0).standard_normal((rows, 7)) + 1


@pytest.fixture
def path(tmp_path):
    file = tmp_path / 'text.npz'
    np.savez(file, names=np.array(NAMES), prototypes=prototypes())
    return file


def test_both_formats_are_read(path, tmp_path):
    rows = torch.from_numpy(prototypes())
    save_file(
        dict(prototypes=rows.half()), tmp_path / 'text.safetensors', {'names': json.dumps(NAMES)}
    )
    read, names = read_prototypes(path)
    assert torch.equal(read, rows)
    assert names == NAMES
    read, names = read_prototypes(tmp_path / 'text.safetensors')
    assert torch.equal(read, rows.half().double())
    assert names == NAMES


@pytest.mark.parametrize('center', [False, True])
def test_classes_are_matched_by_name_and_background_is_neutral(path, center):
    distance = PrototypeCost(path, center=center)(FixedTap(WANTED), TEACHER)
    # Only the wanted ones enter the mean that is removed.
    rows = torch.from_numpy(prototypes())[[3, 0, 1]]
    expected = 1 - cosine_interrelation(rows, center=center)
    assert_close(distance[:3, :3], expected, **EXACT)
    median = sorted([expected[0, 1], expected[0, 2], expected[1, 2]])[1]
    assert torch.equal(distance[3, :3], median.expand(3))
    assert distance[3, 3] == 0


def test_background_of_the_file_or_of_the_user(tmp_path, path):
    given = MODELS.build(dict(type='PrototypeCost', path=path, background_distance=0.7))
    assert given(FixedTap(WANTED), TEACHER)[3].tolist() == [0.7, 0.7, 0.7, 0]
    file = tmp_path / 'five.npz'
    np.savez(file, names=np.array([*NAMES, 'background']), prototypes=prototypes(5))
    source = PrototypeCost(file, background_distance=0.7)
    rows = torch.from_numpy(prototypes(5))[[3, 0, 1, 4]]
    expected = 1 - cosine_interrelation(rows)
    assert_close(source(FixedTap(WANTED), TEACHER), expected, **EXACT)


def test_classes_that_are_missing(path):
    with pytest.raises(ValueError, match=r"text.npz has nothing for the class 'cow'; it has 'ant'"):
        PrototypeCost(path)(FixedTap(['ant', 'cow']), TEACHER)
    with pytest.raises(ValueError, match="the teacher's checkpoint has no class names to match"):
        PrototypeCost(path)(FixedTap(None), TEACHER)


def test_a_prototype_without_direction(tmp_path):
    rows = prototypes()
    rows[1] = 0
    np.savez(tmp_path / 'a.npz', names=np.array(NAMES), prototypes=rows)
    with pytest.raises(ValueError, match='must not be zero to have a direction, got class bee'):
        PrototypeCost(tmp_path / 'a.npz')(FixedTap(NAMES), TEACHER)
    rows[1, 0] = np.nan
    np.savez(tmp_path / 'a.npz', names=np.array(NAMES), prototypes=rows)
    with pytest.raises(ValueError, match='must be finite, got NaN or infinity in class bee'):
        PrototypeCost(tmp_path / 'a.npz')(FixedTap(NAMES), TEACHER)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(names=np.array(NAMES)), 'is not an .npz file with the arrays'),
        (dict(names=np.array(NAMES, object), prototypes=prototypes()), 'is not an .npz file'),
        (dict(names=np.array(NAMES[:3]), prototypes=prototypes()), r'\(4, 7\) and 3 names'),
        (dict(names=np.array(['a'] * 4), prototypes=prototypes()), '4 names, 1 of them different'),
        (dict(names=np.array(NAMES), prototypes=prototypes()[0]), r'the shape \(7,\)'),
    ],
)
def test_files_of_another_kind(tmp_path, arrays, message):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        read_prototypes(tmp_path / 'a.npz')


def test_files_that_are_damaged_or_absent(tmp_path, path):
    for length in (0, 10, 200):
        (tmp_path / 'cut.npz').write_bytes(path.read_bytes()[:length])
        with pytest.raises(ValueError, match='cut.npz is not an .npz file'):
            read_prototypes(tmp_path / 'cut.npz')
    save_file(dict(prototypes=torch.ones(4, 2)), tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match='a.safetensors is not .* .safetensors file'):
        read_prototypes(tmp_path / 'a.safetensors')
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(ValueError, match=r'prototypes come from an .npz file .*; got .*a.txt'):
        read_prototypes(tmp_path / 'a.txt')
    with pytest.raises(FileNotFoundError, match='prototype file not found: .*absent.npz'):
        read_prototypes(tmp_path / 'absent.npz')


def test_options_are_checked(path):
    for value, rule in ((0, 'positive'), (-1, 'positive'), (float('inf'), 'finite')):
        with pytest.raises(ValueError, match=f'background_distance must be {rule}, got {value}'):
            PrototypeCost(path, background_distance=value)
        with pytest.raises(ValueError, match=f'value must be {rule}, got {value}'):
            ConstantCost(value=value)


def test_constant():
    distance = MODELS.build(dict(type='ConstantCost', value=0.25))(FixedTap(WANTED), TEACHER)
    assert torch.equal(distance, 0.25 * (1 - torch.eye(4)))
