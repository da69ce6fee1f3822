"""Pictures of class distances: order, tree and map, read back from the figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wkd_det.inspection.class_pictures import (
    MAPS,
    class_map,
    clustered_order,
    dendrogram,
    group_colors,
    heat_map,
    plot_interrelation,
)

GROUPS = ['a', 'b', 'c'] * 4
NAMES = [f'{group}{index}' for index, group in enumerate(GROUPS)]


def clustered():
    """Three tight clusters whose classes are interleaved."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0], [3, 0], [0, 4]])
    points = centres[[0, 1, 2] * 4] + 0.05 * torch.randn(12, 2, generator=generator)
    distance = torch.cdist(points.double(), points.double())
    return ((distance + distance.mT) / 2).fill_diagonal_(0)


def test_order_puts_clusters_side_by_side():
    order = [GROUPS[index] for index in clustered_order(clustered())]
    assert sum(one != other for one, other in zip(order, order[1:])) == 2


def test_heat_map_shows_the_matrix_in_that_order():
    distance = clustered()
    figure = heat_map(distance, NAMES, title='title')
    axes, bar = figure.axes
    order = clustered_order(distance)
    shown = axes.images[0].get_array()
    expected = distance[order][:, order].numpy()
    off = ~np.eye(12, dtype=bool)
    assert np.array_equal(np.asarray(shown)[off], expected[off])
    assert np.ma.getmaskarray(shown).diagonal().all() or np.isnan(np.diag(shown.data)).all()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [NAMES[index] for index in order]
    assert axes.get_title() == 'title'
    assert bar.get_ylabel() == 'distance (1 - interrelation)'


def test_many_classes_go_without_names():
    position = torch.linspace(0, 1, 130, dtype=torch.float64)
    distance = (position[:, None] - position).abs()
    names = [f'class {index}' for index in range(130)]
    labels = [label.get_text() for label in heat_map(distance, names).axes[0].get_yticklabels()]
    assert not any(label.startswith('class') for label in labels)
    assert not class_map(distance, names).axes[0].texts
    branches = [label.get_text() for label in dendrogram(distance, names).axes[0].get_yticklabels()]
    assert len(branches) == 60
    sizes = [int(label.strip('()')) for label in branches if not label.startswith('class')]
    assert sum(sizes) + len(branches) - len(sizes) == 130


def test_dendrogram_names_every_class_once_in_the_colour_of_its_group():
    figure = dendrogram(clustered(), NAMES, groups=GROUPS)
    labels = figure.axes[0].get_yticklabels()
    assert sorted(label.get_text() for label in labels) == sorted(NAMES)
    colors = group_colors(GROUPS)
    assert all(label.get_color() == colors[label.get_text()[0]] for label in labels)


@pytest.mark.parametrize('method', MAPS)
def test_map_keeps_clusters_together_and_is_seeded(method):
    distance = clustered()
    figure = class_map(distance, NAMES, groups=GROUPS, method=method)
    points = torch.from_numpy(np.asarray(figure.axes[0].collections[0].get_offsets()))
    placed = torch.cdist(points, points)
    same = torch.tensor([[one == other for other in GROUPS] for one in GROUPS])
    nearest = (placed + 1e9 * torch.eye(12)).topk(3, largest=False).indices
    assert same[torch.arange(12)[:, None], nearest].all()
    again = class_map(distance, NAMES, groups=GROUPS, method=method)
    assert np.array_equal(points, again.axes[0].collections[0].get_offsets())
    assert [text.get_text() for text in figure.axes[0].texts] == NAMES
    if method == 'mds':  # exact: the distances are those of points in a plane
        assert torch.allclose(placed, distance, atol=0.02)


def test_unknown_map():
    with pytest.raises(ValueError, match=r"method must be one of \('mds', 'tsne'\), got 'umap'"):
        class_map(clustered(), NAMES, method='umap')


def test_files_are_pictures(tmp_path):
    paths = plot_interrelation(clustered().float(), NAMES, tmp_path / 'new', stem='cost')
    assert [path.name for path in paths] == [
        'cost_heat_map.png', 'cost_dendrogram.png', 'cost_map.png',
    ]  # fmt: skip
    assert all(path.read_bytes()[:8] == b'\x89PNG\r\n\x1a\n' for path in paths)
