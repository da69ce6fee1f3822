"""Names with dollars, as they stand in every picture."""

import io

import pytest
import torch
from matplotlib.text import Text

from wkd_det.inspection.attention import Scene, attention_grid
from wkd_det.inspection.class_pictures import class_map, dendrogram, heat_map
from wkd_det.inspection.network_pictures import (
    correlation_difference,
    feature_scatter,
    plot_class_discrepancy,
    plot_transport_plan,
)
from wkd_det.inspection.text import literal

NAMES = ['$5 or $10', 'US$', r'$\frac{$', 'plain', '$x$']
TITLE = '$a and $b'


def distance():
    values = torch.rand(5, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    return ((values + values.t()) / 2).fill_diagonal_(0)


def scattered():
    features = {TITLE: torch.rand(20, 6, generator=torch.Generator().manual_seed(0))}
    return feature_scatter(features, torch.arange(20) % 5, NAMES, title=TITLE)


def correlated():
    logits = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    return correlation_difference({TITLE: logits.flip(0)}, logits, NAMES, title=TITLE)


def attended():
    pixels, boxes = torch.rand(16, 24, 3), torch.tensor([[2.0, 3.0, 10.0, 12.0]] * 5)
    maps = {TITLE: torch.rand(16, 24)}
    scenes = [Scene(pixels, boxes, NAMES, maps), Scene(pixels, boxes[:0], NAMES, maps)]
    return attention_grid(scenes, title=TITLE)


PICTURES = dict(
    heat_map=lambda: heat_map(distance(), NAMES, title=TITLE),
    dendrogram=lambda: dendrogram(distance(), NAMES, groups=NAMES, title=TITLE),
    class_map=lambda: class_map(distance(), NAMES, groups=NAMES, title=TITLE),
    correlation=correlated,
    discrepancy=lambda: plot_class_discrepancy({TITLE: torch.ones(5)}, NAMES, title=TITLE),
    scatter=scattered,
    attention=attended,
    transport=lambda: plot_transport_plan(
        torch.eye(5) / 5, distance(), NAMES, student=torch.ones(5) / 5, teacher=torch.ones(5) / 5,
        title=TITLE,
    ),
)  # fmt: skip


@pytest.mark.parametrize('name', PICTURES)
def test_every_name_is_drawn_as_it_stands(name):
    figure = PICTURES[name]()
    figure.savefig(io.BytesIO(), format='png', dpi=30)  # a wrong formula ends here
    texts = [one for one in figure.findobj(Text) if one.get_text()]
    drawn = [one._preprocess_math(one.get_text()) for one in texts]
    plain = ' '.join(text for text, is_formula in drawn if not is_formula)
    for wanted in (*NAMES, TITLE):
        assert wanted in plain, wanted


def test_only_dollars_are_escaped():
    assert literal('a_b^c\\d') == 'a_b^c\\d'
    assert literal('$x$') == r'\$x\$'
