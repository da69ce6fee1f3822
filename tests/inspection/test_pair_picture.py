"""The picture of a pair: what it shows, and that nothing lies on anything else."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import pytest

from wkd_det.inspection.pairs.methods import Method
from wkd_det.inspection.pairs.picture import draw_pair
from wkd_det.inspection.pairs.places import PairPlaces, PlaceRow, Side, shortened

pytest.importorskip('matplotlib')
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402


def side(label, width=256, stride=None, size=None):
    return Side(label, width, stride, size)


def detectors(shift):
    """A student whose pyramid starts ``shift`` levels above the teacher's."""
    rows = [
        PlaceRow(
            'neck',
            side(f'level {level - shift}', 256, 4 * 2**level, (64, 64)) if level >= shift else None,
            side(f'level {level}', 1024, 4 * 2**level, (64, 64)),
        )
        for level in range(5)
    ]
    backbone = [PlaceRow('backbone', side('level 0', 64, 4), side('level 0', 256, 4))]
    rois = [
        PlaceRow(tap, side('on RoIs', 81), side('on RoIs', 81))
        for tap in ('roi_feats', 'roi_logits', 'roi_offsets')
    ]
    return PairPlaces(256, [*backbone, *rows, *rois], [], (9, 9), ([], []))


def transformers():
    rows = [
        PlaceRow(place, side(f'level {level}', 256, 8 * 2**level), side(f'level {level}', 256))
        for place in ('backbone', 'neck', 'memory')
        for level in range(2)
    ]
    return PairPlaces(256, rows, [], (9, 9), ([], []))


def classifiers():
    names = [f'stages[{index}]' for index in range(4)]
    module = 'features.denseblock4.denselayer16.norm2.and.more:input'
    rows = [PlaceRow(name, side(module, 2048, 32, (7, 7)), side(module)) for name in names]
    before = [PlaceRow('stages_before[0]', None, side('layer1.0.relu:input'))]
    return PairPlaces(
        224, [*rows, *before, PlaceRow('logits', side(''), side(''))], [], (1, 1), ([], [])
    )


def found(places, distill, title='M: a method'):
    config = SimpleNamespace(model=SimpleNamespace(type='FasterRCNN'))
    pair = SimpleNamespace(type='DistilledRetinaNet', teacher={}, teacher_config=lambda: config)
    method = Method('m', title, distill)
    return SimpleNamespace(pair=pair, places=places, chosen=SimpleNamespace(method=method))


CASES = {
    'many at one place': (
        detectors(0),
        {
            'loss_wkd_f': dict(tap='roi_feats'),
            'loss_wkd_l': dict(tap='roi_logits'),
            'loss_wkd_l_st': dict(tap='crossed_logits'),
            'loss_wkd_l_ts': dict(tap='crossed_logits'),
            'loss_box': dict(tap='roi_boxes'),
        },
        5,
    ),
    'levels that shift': (
        detectors(1),
        {
            'loss_a': dict(tap='neck', levels=[0, 1, 2], teacher_levels=[1, 2, 3]),
            'loss_b': dict(tap='pyramid', levels=[3], teacher_levels=[4]),
        },
        4,
    ),
    'memory of an encoder': (
        transformers(),
        dict(loss_m=dict(tap='memory', levels=[0]), loss_n=dict(tap='neck')),
        3,
    ),
    'all levels': (detectors(0), dict(loss_a=dict(tap='neck')), 5),
    'places of classifiers': (
        classifiers(),
        dict(
            loss_a=dict(tap='pyramid', modules='stages'),
            loss_b=dict(tap='logits'),
            loss_c=dict(tap='branch', modules='stages'),
        ),
        9,
    ),
    'no such row': (classifiers(), dict(loss_a=dict(tap='elsewhere')), 0),
}


def drawn(figure):
    """Texts and arrows of a figure, with their extents in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axis,) = figure.axes
    figure.draw(renderer)
    texts = [one for one in axis.texts if one.get_text() and not hasattr(one, 'arrow_patch')]
    arrows = [one for one in axis.texts if hasattr(one, 'arrow_patch')]
    boxes = [(one.get_text(), one.get_window_extent(renderer)) for one in texts]
    return boxes, arrows, axis


@pytest.mark.parametrize('case', CASES)
def test_arrows_of_every_term_and_no_text_on_another(case):
    places, distill, arrows = CASES[case]
    figure = draw_pair(found(places, distill))
    boxes, seen, _ = drawn(figure)
    assert len(seen) == arrows
    for (name, one), (other, two) in combinations(boxes, 2):
        assert not one.overlaps(two), (name, other)
    width, height = figure.canvas.get_width_height()
    for name, box in boxes:
        assert 0 <= box.x0 < box.x1 <= width, name
        assert 0 <= box.y0 < box.y1 <= height, name
    assert {'student: RetinaNet', 'teacher: FasterRCNN'} <= {name for name, _ in boxes}


def test_an_arrow_goes_from_the_students_level_to_the_teachers():
    places = detectors(1)
    term = dict(tap='neck', levels=[0], teacher_levels=[1])
    _, (arrow,), axis = drawn(draw_pair(found(places, dict(loss_a=term))))
    heights = {
        one.get_text(): one.get_position()[1] for one in axis.texts if 'level' in one.get_text()
    }
    assert arrow.xyann[1] == pytest.approx(arrow.xy[1])  # both stand in one row: equal strides
    assert min(abs(arrow.xy[1] - height) for height in heights.values()) < 0.2


def test_names_are_shortened_at_their_start():
    assert shortened('layer1', 6) == 'layer1'
    assert shortened('backbone.layer1', 8) == '..layer1'
    assert len(shortened('a' * 50, 10)) == 10


def test_names_with_signs_of_formulas_stand_as_they_are():
    boxes, _, _ = drawn(draw_pair(found(classifiers(), dict(loss_a=dict(tap='logits')), 'a $x$ b')))
    assert r'a \$x\$ b' in {name for name, _ in boxes}
