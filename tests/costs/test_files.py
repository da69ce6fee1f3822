"""Files of distances and of prototypes: written, read, damaged, malicious."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from wkd_det.costs.files import read_cost_file, read_prototypes, write_cost_file

# Float64 rounding of a cosine.
EXACT = dict(rtol=1e-12, atol=1e-12)
NAMES = ['ant', 'bee', 'cat', 'background']


def distances(classes=4):
    """Different in every entry, so that an order shows; exact in float32."""
    upper = torch.arange(1.0, classes * classes + 1).view(classes, classes).triu(1) / 32
    return upper + upper.t()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cost.safetensors'


# Distances: written and read


@pytest.mark.parametrize('as_string', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_written_file_is_read(path, as_string, dtype):
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


def test_a_matrix_that_is_not_contiguous_is_written_too(path):
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


# Distances: damaged


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


# Prototypes


def prototypes(rows=4):
    return np.random.default_rng(0).standard_normal((rows, 7)) + 1


@pytest.fixture
def prototype_path(tmp_path):
    file = tmp_path / 'text.npz'
    np.savez(file, names=np.array(NAMES), prototypes=prototypes())
    return file


def test_both_formats_of_prototypes_are_read(prototype_path, tmp_path):
    rows = torch.from_numpy(prototypes())
    save_file(
        dict(prototypes=rows.half()), tmp_path / 'text.safetensors', {'names': json.dumps(NAMES)}
    )
    read, names = read_prototypes(prototype_path)
    assert torch.equal(read, rows)
    assert names == NAMES
    read, names = read_prototypes(tmp_path / 'text.safetensors')
    assert torch.equal(read, rows.half().double())
    assert names == NAMES


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
def test_prototype_files_of_another_kind(tmp_path, arrays, message):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        read_prototypes(tmp_path / 'a.npz')


def test_prototype_files_that_are_damaged_or_absent(tmp_path, prototype_path):
    for length in (0, 10, 200):
        (tmp_path / 'cut.npz').write_bytes(prototype_path.read_bytes()[:length])
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
