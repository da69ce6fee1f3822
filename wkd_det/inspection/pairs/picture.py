"""The picture of a pair: places of both networks as boxes, terms as arrows between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wkd_det.inspection.pairs.explained import Explanation
from wkd_det.inspection.pairs.places import LEVEL_TAPS, PlaceRow, Side, shortened
from wkd_det.inspection.text import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.62  # inches between rows
_BOX = (3.0, 0.46)  # width and height of a box
_MODULE = 32  # characters of the name of a module
_GAP = 4.6  # between the columns
_APART = 0.17  # of an inch, between arrows that begin in one row
_LETTER = 0.066  # of an inch, the width of a letter
_PLACES_OF_TAPS = dict(
    branch='stages',
    class_activation='pooled_map',
    crossed_features='stages',
    crossed_logits='logits',
    crossed_offsets='roi_offsets',
    pyramid='stages',
    roi_boxes='roi_offsets',
    stages='stages',
)
"""Where taps read whose name is not that of their place."""
_FAINT = '#9a9a9a'
_FILLS = dict(backbone='#e8eef7', neck='#e6f3ea', roi='#fbeee0', other='#f1ebf6')
_TERMS = ('#1f5fa8', '#c2571a', '#2c7a3f', '#8a3b8f', '#a8202d', '#6b5b14', '#157a7e')


@dataclass(frozen=True)
class _Arrow:
    """A term between a row of the student and one of the teacher."""

    term: str
    student: int
    teacher: int


def draw_pair(found: Explanation) -> Figure:
    """Draw the places of student and teacher in two columns, and the terms of the chosen method.

    Channels, stride and size stand in the boxes; an arrow goes from the student's place to the
    one of the teacher that a term compares it with.

    Args:
        found: The pair, with the chosen method.
    """
    from matplotlib.figure import Figure

    terms = {} if found.chosen is None else found.chosen.method.distill
    rows = _rows(found, terms)
    arrows = [arrow for name, term in terms.items() for arrow in _arrows(name, term, rows)]
    both = found.pair.teacher is not None
    width = 2 * _BOX[0] + _GAP if both else _BOX[0]
    height = _ROW * len(rows)
    figure = Figure(figsize=(width + 0.8, height + 1.7))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_xlim(-0.4, width + 0.4)
    axis.set_ylim(-height - 0.5, 1.2)
    axis.set_axis_off()
    columns = [(0.0, 'student', found.pair.type.removeprefix('Distilled'))]
    if both:
        kind = str(found.pair.teacher_config().model.type)
        columns.append((_BOX[0] + _GAP, 'teacher', kind))
    for left, owner, kind in columns:
        _column(axis, rows, left, owner, kind)
    colours = {name: _TERMS[index % len(_TERMS)] for index, name in enumerate(terms)}
    if both:
        _draw_arrows(axis, arrows, colours)
    title = 'no method chosen' if found.chosen is None else found.chosen.method.title
    axis.text(width / 2, 0.95, literal(title), ha='center', va='center', fontsize=10)
    axis.text(
        width / 2,
        -height - 0.25,
        f'channels | stride | height x width, for an image of {found.places.size} pixels',
        ha='center',
        va='center',
        fontsize=7.5,
        color=_FAINT,
    )
    return figure


def _rows(found: Explanation, terms: Mapping[str, Any]) -> list[PlaceRow]:
    """The rows that are drawn: all places, and the modules that a term names."""
    named = {term.get('tap') for term in terms.values()}
    places = {row.tap for row in found.places.rows}
    return [
        *found.places.rows,
        *(row for row in found.places.modules if row.tap in named - places),
    ]


def _column(axis: Axes, rows: Sequence[PlaceRow], left: float, owner: str, kind: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    axis.text(
        left + _BOX[0] / 2,
        0.42,
        literal(f'{owner}: {kind}'),
        ha='center',
        va='center',
        fontsize=9,
        weight='bold',
    )
    for index, row in enumerate(rows):
        side = getattr(row, owner)
        bottom = -_ROW * index - _BOX[1]
        if side is None:
            axis.text(
                left + _BOX[0] / 2, bottom + _BOX[1] / 2, '-', ha='center', color=_FAINT, fontsize=9
            )
            continue
        box = FancyBboxPatch(
            (left + 0.04, bottom + 0.04),
            _BOX[0] - 0.08,
            _BOX[1] - 0.08,
            boxstyle='round,pad=0.03',
            facecolor=_fill(row.tap),
            edgecolor='#555555',
            linewidth=0.7,
        )
        axis.add_patch(box)
        middle = bottom + _BOX[1] / 2
        module = side.label if side.label and side.label != row.tap else ''
        above = 0.09 if module else 0.0
        axis.text(left + 0.1, middle + above, literal(row.tap), va='center', fontsize=7.5)
        axis.text(
            left + 0.1,
            middle - 0.1,
            literal(shortened(module, _MODULE)),
            va='center',
            fontsize=6.5,
            color='#555555',
        )
        axis.text(
            left + _BOX[0] - 0.1, middle, _numbers(side), va='center', ha='right', fontsize=7.5
        )


def _draw_arrows(axis: Axes, arrows: Sequence[_Arrow], colours: Mapping[str, str]) -> None:
    """Arrows between the columns; their names stand where they begin, so that none meet."""
    if not arrows:
        return
    names = [arrow.term.removeprefix('loss_') for arrow in arrows]
    left = _BOX[0] + 0.1
    begin = left + 0.1 + _LETTER * max(map(len, names))
    counts = Counter(arrow.student for arrow in arrows)
    seen: Counter[int] = Counter()
    for arrow, name in zip(arrows, names):
        count = counts[arrow.student]
        shift = (seen[arrow.student] - (count - 1) / 2) * min(_APART, _BOX[1] / count)
        seen[arrow.student] += 1
        colour = colours[arrow.term]
        own, other = (-_ROW * row - _BOX[1] / 2 - shift for row in (arrow.student, arrow.teacher))
        axis.text(left, own, literal(name), va='center', fontsize=7, color=colour)
        axis.annotate(
            '',
            xy=(_BOX[0] + _GAP, other),
            xytext=(begin, own),
            arrowprops=dict(arrowstyle='-|>', color=colour, linewidth=1.1, shrinkA=0, shrinkB=2),
        )


def _arrows(name: str, term: Mapping[str, Any], rows: Sequence[PlaceRow]) -> list[_Arrow]:
    """The rows that a term compares, by its tap and its options."""
    tap = str(term.get('tap'))
    detection = any(row.tap == 'backbone' for row in rows)
    if tap in LEVEL_TAPS and detection:
        levels = term.get('levels')
        other_levels = term.get('teacher_levels') or levels
        return _of_levels(name, rows, LEVEL_TAPS[tap], levels, other_levels)
    own: Any = _PLACES_OF_TAPS.get(tap, tap)
    if detection and own == 'logits':
        own = 'roi_logits'
    for option in ('modules', 'module'):
        own = term.get(option) or own
    other: Any = 'logits' if tap == 'branch' else own
    for option in ('teacher_tap', 'teacher_modules', 'teacher_module'):
        other = term.get(option) or other
    left = _with_taps(rows, own, 'student')
    right = _with_taps(rows, other, 'teacher')
    if len(right) == 1:
        right *= len(left)
    return [_Arrow(name, *each) for each in zip(left, right)]


def _of_levels(
    name: str, rows: Sequence[PlaceRow], place: str, own: Any, other: Any
) -> list[_Arrow]:
    sides = []
    for owner, levels in (('student', own), ('teacher', other)):
        at = {
            getattr(row, owner).label: index
            for index, row in enumerate(rows)
            if row.tap == place and getattr(row, owner) is not None
        }
        chosen = range(len(at)) if levels is None else levels
        sides.append([at[f'level {level}'] for level in chosen if f'level {level}' in at])
    return [_Arrow(name, *each) for each in zip(*sides)]


def _with_taps(rows: Sequence[PlaceRow], names: Any, owner: str) -> list[int]:
    """Rows of taps, places or modules; those of a place of several are ``name[index]``."""
    found = []
    for name in [names] if isinstance(names, str) else names:
        fitting = [
            index
            for index, row in enumerate(rows)
            if getattr(row, owner) is not None and row.tap.partition('[')[0] == name
        ]
        of_modules = [
            index
            for index, row in enumerate(rows)
            if getattr(row, owner) is not None and getattr(row, owner).label == name
        ]
        found += fitting or of_modules[:1]
    return found


def _fill(tap: str) -> str:
    return next((fill for start, fill in _FILLS.items() if tap.startswith(start)), _FILLS['other'])


def _numbers(side: Side) -> str:
    parts = [str(side.width)]
    if side.stride is not None:
        parts.append(f'{side.stride:g}')
    if side.size is not None:
        parts.append(f'{side.size[0]} x {side.size[1]}')
    return ' | '.join(parts)
