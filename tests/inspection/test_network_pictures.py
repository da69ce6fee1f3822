"""Numbers behind the pictures of student and teacher, and that they are drawn."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from wkd_det.inspection.network_pictures import (
    class_correlation,
    class_discrepancy,
    correlation_difference,
    feature_scatter,
    fit_linearly,
    plot_class_discrepancy,
    plot_transport_plan,
)

NAMES = ['ant', 'bee', 'background']


def drawn(figure, tmp_path):
    """The picture is not of one colour."""
    path = tmp_path / 'figure.png'
    figure.savefig(path, dpi=40)
    assert mpl.image.imread(path).std() > 0.01


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


# Correlation


def test_correlation_is_numpys():
    logits = torch.randn(50, 4, dtype=torch.float64)
    assert_close(class_correlation(logits), torch.from_numpy(np.corrcoef(logits.numpy().T)))


def test_correlation_that_is_not_defined():
    with pytest.raises(ValueError, match=r'N at least 2, got \(1, 3\)'):
        class_correlation(torch.zeros(1, 3))
    logits = torch.randn(5, 3)
    logits[:, 1] = 2
    with pytest.raises(ValueError, match=r'classes \[1\] are constant'):
        class_correlation(logits)


def test_correlation_difference_names_its_mean(tmp_path):
    teacher = torch.tensor([[1.0, 1.0, 2.0], [2.0, 2.0, 1.0], [3.0, 3.0, 0.0]])
    opposite = teacher * torch.tensor([1.0, -1.0, 1.0])  # two of three pairs change by 2
    figure = correlation_difference(
        {'same': teacher * 5 + 1, 'opposite': opposite}, teacher, NAMES, title='title'
    )
    drawn(figure, tmp_path)
    assert 'same minus teacher\nmean |difference| 0.000' in texts(figure)
    assert 'opposite minus teacher\nmean |difference| 1.333' in texts(figure)
    with pytest.raises(ValueError, match=r'x and the teacher must have logits of one shape'):
        correlation_difference({'x': teacher[:2]}, teacher, NAMES)


# Discrepancy


def test_discrepancy_of_shifted_and_scaled_classes():
    """A shift by d costs |d|^2; spreading one dimension from sd 1 to 3 costs (3 - 1)^2."""
    # Their covariance is 1 in each direction.
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) * (3 / 2) ** 0.5
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])
    teacher = torch.cat([points, points, points[:1]])
    student = teacher.clone()
    student[:4] += torch.tensor([3.0, 4.0])
    student[4:8, 0] *= 3
    distance = class_discrepancy(student, teacher, labels, 3)
    # The points are rounded to float32.
    expected = torch.tensor([25.0, 4.0], dtype=torch.float64)
    assert_close(distance[:2], expected, rtol=1e-6, atol=0)
    assert distance[2].isnan()  # one example has no covariance
    same = class_discrepancy(teacher, teacher, labels, 3)
    assert_close(same[:2], torch.zeros(2, dtype=torch.float64))


def test_discrepancy_of_different_widths():
    with pytest.raises(ValueError, match=r'one shape \(N, D\), got \(4, 2\) and \(4, 3\)'):
        class_discrepancy(torch.zeros(4, 2), torch.zeros(4, 3), torch.zeros(4), 1)


def test_linear_fit_recovers_a_map():
    features = torch.randn(30, 3)
    onto = features.double() @ torch.randn(3, 5, dtype=torch.float64) + 2
    fitted = torch.arange(30) < 10
    assert_close(fit_linearly(features, onto, fitted), onto)
    with pytest.raises(ValueError, match='of 3 dimensions needs more than 4 examples.*got 4'):
        fit_linearly(features, onto, torch.arange(30) < 4)


def test_discrepancy_is_drawn(tmp_path):
    figure = plot_class_discrepancy(
        {'one': torch.tensor([1.0, torch.nan, 3.0]), 'two': torch.ones(3)}, NAMES
    )
    drawn(figure, tmp_path)
    assert 'one (mean 2)' in texts(figure)


# Plan


def test_plan_is_drawn_with_its_cost(tmp_path):
    plan = torch.tensor([[0.5, 0.25, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.0]])
    sides = dict(student=torch.tensor([0.75, 0.25, 0.0]), teacher=torch.tensor([0.3, 0.6, 0.1]))
    figure = plot_transport_plan(plan, 1 - torch.eye(3), NAMES, **sides)
    drawn(figure, tmp_path)
    _, left, top, _, *_ = figure.axes
    # The probabilities as they are, and what the plan has made of them.
    widths = [bar.get_width() for bar in left.patches]
    heights = [bar.get_height() for bar in top.patches]
    assert widths == pytest.approx([0.75, 0.25, 0.0, 0.75, 0.25, 0.0])
    assert heights == pytest.approx([0.3, 0.6, 0.1, 0.5, 0.5, 0.0])
    assert 'mass times cost, 0.2500 in all' in texts(figure)
    with pytest.raises(ValueError, match=r'cost must have the shape \(3, 3\), got \(2, 2\)'):
        plot_transport_plan(plan, torch.zeros(2, 2), NAMES, **sides)
    with pytest.raises(ValueError, match=r'teacher must have the shape \(3,\), got \(2,\)'):
        plot_transport_plan(
            plan, torch.zeros(3, 3), NAMES, student=torch.ones(3), teacher=torch.ones(2)
        )


# t-SNE


def test_scatter(tmp_path):
    labels = torch.arange(30) % 2
    features = torch.randn(30, 6) + 20 * labels[:, None]
    figure = feature_scatter({'a': features, 'b': features[:, :3]}, labels, NAMES)
    drawn(figure, tmp_path)
    ant, bee = (np.asarray(one.get_offsets()) for one in figure.axes[0].collections)
    assert len(ant) == len(bee) == 15
    spread = max(ant.std(), bee.std())
    assert np.linalg.norm(ant.mean(0) - bee.mean(0)) > spread  # far classes stay apart
    with pytest.raises(ValueError, match='at least 4 examples, got 3'):
        feature_scatter({'a': features[:3]}, labels[:3], NAMES)
    with pytest.raises(ValueError, match='b must have 30 rows, one a label, got 2'):
        feature_scatter({'a': features, 'b': features[:2]}, labels, NAMES)
