"""The report on a pair as plain text, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from wkd_det.inspection.pairs.bench import Trial
from wkd_det.inspection.pairs.explained import Cost, Explanation
from wkd_det.inspection.pairs.names import Classes
from wkd_det.inspection.pairs.places import PlaceRow, Side, shortened
from wkd_det.ops.checks import listed

_WIDTH = 100
_TAP, _LABEL = 26, 14  # characters of a tap and of a module
_NAMES = 8  # class names that are written out


def report(found: Explanation) -> str:
    """Return the report: places, classes, input, cost, methods, and whether training starts."""
    parts = [
        _pair(found),
        _places(found),
        *([] if found.classes is None else [_classes(found.classes)]),
        _input(found),
        _cost(found.cost, found),
        _methods(found),
        _verdict(found),
    ]
    return '\n\n'.join('\n'.join(part) for part in parts)


def _pair(found: Explanation) -> list[str]:
    pair = found.pair
    own, other = found.cost.parameters
    plain = pair.type.removeprefix('Distilled')
    lines = [f'Student  {plain}, {_millions(own)} parameters', f'         {pair.name}']
    if pair.teacher is None:
        return [*lines, 'Teacher  none: --teacher CONFIG names one']
    kind = pair.teacher_config().model.type
    source = pair.teacher['config']
    lines.append(f'Teacher  {kind}, {_millions(other)} parameters')
    lines.append(f'         {source if isinstance(source, str) else "a config in the config"}')
    if found.has_weights:
        lines.append(f'         {pair.teacher["checkpoint"]}')
    elif found.checkpoint_problem is not None:
        lines += _wrapped(f'its weights do not load: {found.checkpoint_problem}', ' ' * 9)
        lines.append('         below it has random weights')
    else:
        lines.append('         without --checkpoint FILE: below it has random weights')
    return lines


def _places(found: Explanation) -> list[str]:
    places = found.places
    title = (
        f'Places to tap (width in channels; sizes for an image of {places.size} x {places.size})'
    )
    both = found.pair.teacher is not None
    lines = [title, *_side_by_side(places.rows, both=both)]
    own, other = places.counts
    lines.append(
        f'Modules by name, with their tap: {own} in the student'
        + ('' if found.pair.teacher is None else f', {other} in the teacher')
        + '; the coarse ones:'
    )
    lines += _side_by_side(places.modules, both=both, labels=False)
    for reason in places.stopped:
        lines += _wrapped(f'not reached by an empty image: {reason}', '  ')
    return lines


def _side_by_side(rows: Sequence[PlaceRow], *, both: bool, labels: bool = True) -> list[str]:
    """A table of places, with a line above that says whose columns are whose."""
    columns = ['where', 'width', 'stride', 'size'] if labels else ['width', 'stride', 'size']
    skipped = 0 if labels else 1
    cells = [['tap', *columns, *(columns if both else [])]]
    for row in rows:
        sides = [row.student, row.teacher] if both else [row.student]
        found = [cell for side in sides for cell in _cells(side)[skipped:]]
        cells.append([shortened(row.tap, _TAP), *found])
    numbers = [index for index, name in enumerate(cells[0]) if name in ('width', 'stride')]
    lines = _table(cells, right=numbers)
    if both and lines:
        start = lines[0].index(columns[0])
        second = lines[0].index(columns[0], start + 1)
        lines.insert(0, f'{"":{start}}{"student":{second - start}}teacher')
    return lines


def _cells(side: Side | None) -> tuple[str, str, str, str]:
    if side is None:
        return '-', '-', '', ''
    stride = '' if side.stride is None else f'{side.stride:g}'
    size = '' if side.size is None else f'{side.size[0]} x {side.size[1]}'
    return shortened(side.label, _LABEL), str(side.width), stride, size


def _classes(classes: Classes) -> list[str]:
    lines = [f'Classes (student {_number(classes.own)}, teacher {_number(classes.other)})']
    names, others = classes.names, classes.teacher_names
    if classes.other == 0:
        return [*lines, '  the teacher has none, so none are compared']
    if names is None or others is None:
        unknown = [
            owner for owner, known in (('student', names), ('teacher', others)) if known is None
        ]
        lines.append(f'  the names are unknown of: {" and ".join(unknown)}')
    else:
        shared = classes.shared
        order = '' if classes.same_order or not shared else ', in another order'
        lines += _wrapped(f'shared{order}: {_some(shared)}', '  ')
        pairs = [f'{own} is {other}' for own, other in classes.spelt_otherwise]
        if pairs:
            lines += _wrapped(f'spelt otherwise: {_some(pairs)}', '  ')
        missing = [
            f'{name} (near: {", ".join(near)})' if near else name for name, near in classes.missing
        ]
        if missing:
            lines += _wrapped(f'unknown to the teacher: {_some(missing)}', '  ')
        if classes.additional:
            lines += _wrapped(f'the teacher alone: {_some(classes.additional)}', '  ')
    for count, known, owner in (
        (classes.own, names, 'student'),
        (classes.other, others, 'teacher'),
    ):
        if None not in (count, known) and count != len(known):
            lines.append(f'  the {owner} has {count} classes, and its data name {len(known)}')
    if classes.rule != 'same':
        lines.append(f'  teacher.classes={classes.rule!r} is needed:')
        lines += _wrapped(next(iter(classes.refusals.values()), ''), '    ')
    return lines


def _input(found: Explanation) -> list[str]:
    rows = found.inputs
    if found.pair.teacher is None:
        return ['Input', *_table([(row.name, row.student) for row in rows])]
    differs = any(row.differs for row in rows)
    end = 'what differs is brought over in each step' if differs else 'nothing differs'
    cells = [('', 'student', 'teacher', '')]
    cells += [
        (row.name, row.student, row.teacher or '', 'differs' if row.differs else '') for row in rows
    ]
    return [f'Input ({end})', *_table(cells)]


def _cost(cost: Cost, found: Explanation) -> list[str]:
    lines = [
        f'Cost on {cost.device} of this machine ({found.count} random images of '
        f'{found.size} x {found.size}; medians of 3)'
    ]
    cells = []
    if cost.student_seconds is not None:
        cells.append(('student, losses, forward', _seconds(cost.student_seconds)))
    if cost.student_bytes is not None:
        cells.append(('student, kept for its backward pass', _bytes(cost.student_bytes)))
    if cost.teacher_seconds is not None:
        what = 'backbone and neck' if found.pair.is_detection else 'forward'
        cells.append((f'teacher, {what}', _seconds(cost.teacher_seconds)))
    if cost.teacher_bytes is not None:
        cells.append(('teacher, weights', _bytes(cost.teacher_bytes)))
    lines += _table(cells)
    if cost.problem is not None:
        lines += _wrapped(f'not measured: {cost.problem}', '  ')
    return lines


def _methods(found: Explanation) -> list[str]:
    fitting = [trial for trial in found.trials if trial.fits]
    refused = [trial for trial in found.trials if not trial.fits]
    lines = []
    if fitting:
        lines.append('Methods that fit, and what each term keeps for the backward pass')
        for trial in fitting:
            lines += _fit(trial)
    if refused:
        lines += ([''] if lines else []) + ['Methods that do not fit, and why']
        for reason, trials in _by_reason(refused).items():
            names = ', '.join(trial.method.name for trial in trials)
            lines += _wrapped(names, '  ')
            lines += _wrapped(reason, '      ')
    return lines


def _fit(trial: Trial) -> list[str]:
    method = trial.method
    memory = ', '.join(f'{name} {_bytes(size)}' for name, size in trial.memory.items())
    lines = _wrapped(f'{method.name:<17}{memory}', '  ', 19)
    if method.changes:
        changes: dict[str, list[str]] = {}
        for change in method.changes:
            term, _, text = change.partition(': ')
            changes.setdefault(term, []).append(text)
        text = '; '.join(f'{term}: {", ".join(parts)}' for term, parts in changes.items())
        lines += _wrapped(f'with {text}', ' ' * 19)
    return lines


def _by_reason(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Refused methods by the reason, without the name of the term in it."""
    reasons: dict[str, list[Trial]] = {}
    for trial in trials:
        start, mark, rest = trial.refusal.partition(': ')
        same = rest if mark and start.startswith('distill.') else trial.refusal
        reasons.setdefault(same, []).append(trial)
    return {
        trials[0].refusal if len(trials) == 1 else reason: trials
        for reason, trials in reasons.items()
    }


def _verdict(found: Explanation) -> list[str]:
    missing = '; '.join(f'{split}: {what}' for split, what in found.data.missing.items())
    lines = _wrapped(f'Without its data ({missing}), what depends on them was left out.', '')
    lines = lines if missing else []
    if found.chosen is None and found.refusal is None:
        return [*lines, 'No teacher and no method: nothing to train yet.']
    if found.refusal is not None:
        name = 'This pair' if found.chosen is None else found.chosen.method.name
        return [*lines, *_wrapped(f'{name} would not train: {found.refusal}', '')]
    name = found.chosen.method.name
    if found.pair.teacher is not None and not found.pair.teacher.get('checkpoint'):
        text = f'{name} trains as soon as the teacher has weights: --checkpoint FILE.'
    else:
        text = f'{name} trains: everything before the first step has been run.'
    return [*lines, *_wrapped(text, '')]


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append(('  ' + '  '.join(cells)).rstrip())
    return lines


def _wrapped(text: str, indent: str, hanging: int | None = None) -> list[str]:
    rest = ' ' * (len(indent) + 2 if hanging is None else hanging)
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _some(names: Sequence[str]) -> str:
    return f'{len(names)} ({listed(names, _NAMES)})' if names else 'none'


def _number(count: int | None) -> str:
    return 'unknown' if count is None else str(count)


def _millions(count: int | None) -> str:
    return f'{(count or 0) / 1e6:.2f} M'


def _bytes(size: int) -> str:
    return f'{size / 2**20:.1f} MB' if size >= 2**20 / 10 else f'{size / 2**10:.0f} kB'


def _seconds(seconds: float) -> str:
    return f'{1000 * seconds:.0f} ms'
