"""The structure report, groups of classes and their names."""

from __future__ import annotations

import json

import pytest
import torch

from wkd_det.costs.contrast import likeness_to_constant
from wkd_det.costs.files import CostFile
from wkd_det.costs.report import (
    groups_of,
    interrelation_report,
    read_grouping,
    report_text,
    with_class_names,
    write_report,
)
from wkd_det.functional import structure_report

NAMES = ['cat', 'dog', 'bus', 'car', 'background']
GROUPS = dict(cat='animal', dog='animal', bus='vehicle', car='vehicle')


def content_of(names=NAMES, seed=0, metadata=None):
    """Two pairs of close classes, and background far from all."""
    generator = torch.Generator().manual_seed(seed)
    position = torch.tensor([[0.0, 0], [0.1, 0], [1, 0], [1.15, 0], [0.5, 2]])
    position = position + 0.01 * torch.rand(5, 2, generator=generator)
    distance = torch.cdist(position, position)
    return CostFile(((distance + distance.mT) / 2).fill_diagonal_(0), names, metadata or {})


@pytest.fixture
def grouping(tmp_path):
    path = tmp_path / 'groups.json'
    path.write_text(json.dumps(GROUPS))
    return path


def test_figures_are_those_of_the_mathematics_by_name(grouping):
    content = content_of()
    report = interrelation_report(content, grouping=grouping, num_neighbors=1)
    groups = ['animal', 'animal', 'vehicle', 'vehicle', 'background']
    expected = structure_report(content.distance, num_neighbors=1, groups=groups)
    for key in ('num_classes', 'off_diagonal', 'additive_effect', 'effective_rank', 'grouping'):
        assert report[key] == expected[key]
    assert report['nearest_classes'] == dict(
        cat=['dog'], dog=['cat'], bus=['car'], car=['bus'], background=['dog']
    )
    assert report['grouping']['agreement'] == 1
    assert json.loads(json.dumps(report)) == report


def test_costs_are_sharpened():
    content = content_of()
    report = interrelation_report(content, sharpness=2.0)
    row, column = torch.triu_indices(5, 5, 1)
    costs = 1 - (-2 * content.distance[row, column].double()).exp()
    assert report['sharpened']['sharpness'] == 2.0
    assert report['sharpened']['mean'] == pytest.approx(costs.mean().item(), abs=1e-12)
    cost = torch.zeros(5, 5, dtype=torch.float64)
    cost[row, column] = cost[column, row] = costs
    likeness = likeness_to_constant(cost)
    assert report['sharpened']['likeness_to_constant'] == pytest.approx(likeness)
    assert f'like one with a constant cost: cosine {likeness:.3f}' in report_text(report)


def test_other_files_are_matched_by_name_or_by_position():
    content = content_of()
    order = [4, 2, 0, 1]
    other = CostFile(content.distance[order][:, order], [NAMES[index] for index in order])
    unnamed = CostFile(content.distance.flip(0, 1), None)
    found = interrelation_report(content, compare=dict(other=other, unnamed=unnamed))['correlation']
    assert found['other']['pearson'] == pytest.approx(1)
    assert (found['other']['num_classes'], found['other']['matched']) == (4, 'by name')
    assert found['unnamed']['matched'] == 'by position'
    assert found['unnamed']['pearson'] < 0.9


def test_files_that_cannot_be_compared():
    stranger = CostFile(content_of().distance, ['a', 'b', 'c', 'dog', 'cat'])
    with pytest.raises(ValueError, match='other has 2 of these classes'):
        interrelation_report(content_of(), compare=dict(other=stranger))
    small = CostFile(content_of().distance[:4, :4], None)
    with pytest.raises(ValueError, match='other covers 4 classes and the other file 5'):
        interrelation_report(content_of(), compare=dict(other=small))


def test_text_says_what_matters(grouping):
    metadata = dict(
        method='cka-linear', layer='penultimate', config='teacher.py', checkpoint='teacher.pth',
        counts=dict(cat=9, dog=7, bus=0, car=8, background=50), examples_per_class=7,
        without_examples=['bus'], distance_without_examples=0.5,
    )  # fmt: skip
    content = content_of(metadata=metadata)
    constant = CostFile(1 - torch.eye(5), NAMES)
    report = interrelation_report(
        content, grouping=grouping, num_neighbors=1, compare=dict(same=content, flat=constant)
    )
    text = report_text(report, max_classes=2)
    for line in (
        'cka-linear on penultimate of teacher.py, teacher.pth',
        'examples: 74 in all, fewest of bus (0)',
        'aligned over 7 examples of each class',
        'WITHOUT EXAMPLES, at the distance 0.5 of every class: bus',
        '100.0% of the 1 nearest classes share the group (chance 25.0%',
        '  animal (2): 100.0% (chance 25.0%)',
        'correlation with same: Pearson 1.000, Spearman 1.000, without effects of single classes '
        '1.000 (5 classes, matched by name)',
        'correlation with flat: Pearson none, Spearman none, without effects of single classes '
        'none',
        '  cat: dog',
        '  and 3 more classes, see --report',
    ):
        assert line in text
    assert '  bus: car' not in text
    assert 'the file does not say how it was made' in report_text(
        interrelation_report(content_of())
    )


def test_report_is_written_whole(tmp_path):
    report = interrelation_report(content_of())
    write_report(tmp_path / 'new' / 'report.json', report)
    assert json.loads((tmp_path / 'new' / 'report.json').read_text()) == report


# Groups and names


def test_shipped_groupings_are_complete():
    coco, cifar = read_grouping('coco'), read_grouping('cifar100')
    assert (len(coco), len(set(coco.values()))) == (80, 12)
    assert (len(cifar), len(set(cifar.values()))) == (100, 20)
    assert list(cifar) == sorted(cifar)
    assert all(list(cifar.values()).count(group) == 5 for group in cifar.values())


def test_coco_names_are_those_of_mmdet_in_their_order():
    from mmdet.datasets import CocoDataset

    assert list(read_grouping('coco')) == list(CocoDataset.METAINFO['classes'])


def test_background_is_a_group_of_its_own():
    assert groups_of(['bus', 'background'], GROUPS, 'x') == ['vehicle', 'background']
    assert groups_of(['background'], dict(background='rest'), 'x') == ['rest']
    with pytest.raises(ValueError, match="the file has nothing for the class 'cow'"):
        groups_of(['cow'], GROUPS, 'the file')


@pytest.mark.parametrize('content', ['[1]', '{"a": 1}', 'no json'])
def test_groupings_of_another_kind(tmp_path, content):
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(ValueError, match=r'a.json (must hold one dict|is no JSON file)'):
        read_grouping(tmp_path / 'a.json')
    with pytest.raises(
        FileNotFoundError, match='grouping not found: .*; shipped ones are cifar100'
    ):
        read_grouping(tmp_path / 'absent.json')


def test_names_for_files_without(tmp_path):
    unnamed = CostFile(content_of().distance, None)
    (tmp_path / 'names.txt').write_text('a\nb\nc\n\nd\ne\n')
    assert with_class_names(unnamed, tmp_path / 'names.txt').class_names == list('abcde')
    assert with_class_names(unnamed, None) is unnamed
    assert set(interrelation_report(unnamed)['nearest_classes']) == set('01234')
    with pytest.raises(ValueError, match='cifar100 must name 5 different classes, got 100'):
        with_class_names(unnamed, 'cifar100')
    with pytest.raises(ValueError, match='this one has them'):
        with_class_names(content_of(), 'cifar100')
