"""The report of ``tools/check_gpu.py`` in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpu_check.names import PLAIN, found_in
from gpu_check.predictions import judge
from gpu_check.processes import DONE
from gpu_check.waits import beyond
from pages import markdown_table

_MEASURES = {
    'ms': ('seconds', 1e3),
    'ms in a row': ('queued_seconds', 1e3),
    'ms on the GPU': ('busy_seconds', 1e3),
    'extra MiB': ('extra_bytes', 2.0**-20),
    'launches': ('launches', 1),
    'operators': ('operators', 1),
}
"""Key and factor of a column."""
_EXPLANATION = (
    'ms: from an idle device to an idle device; in a row: per call of 20, the longer of asking and '
    'computing; extra MiB: peak beyond what is there before; launches: kernels and copies; '
    'operators: those dispatched that are no views.'
)


def report(results: Mapping[str, Any]) -> str:
    """Return all results as Markdown.

    Args:
        results: ``version``, ``device``, ``tiny`` and ``parts``: by name ``state``, ``seconds``,
            ``found`` and perhaps ``error``.
    """
    blocks = [summary(results)]
    writers = dict(numerics=_numerics, losses=_losses, classifiers=_steps, detectors=_steps)
    for name, part in results['parts'].items():
        if part.get('found'):
            blocks += [f'## {name}', *writers[name](part['found'])]
    return '\n\n'.join(blocks) + '\n'


def summary(results: Mapping[str, Any]) -> str:
    """Return the beginning of the report: machine, parts and predictions."""
    blocks = [
        f'# GPU check of wkd_det {results["version"]}',
        _facts(results),
        _parts(results['parts']),
        '## Predictions',
        _predictions(results),
    ]
    return '\n\n'.join(blocks)


def _bare_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; bars within cells are replaced."""
    return markdown_table(header, [[str(cell).replace('|', '/') for cell in row] for row in rows])


def _facts(results: Mapping[str, Any]) -> str:
    facts = next(
        (part['found']['facts'] for part in results['parts'].values() if _has_facts(part)), {}
    )
    lines = [f'- {key}: {value}' for key, value in facts.items()]
    if results['tiny']:
        lines.append('- small sizes: this run tries the tool, its times mean nothing')
    if not str(results['device']).startswith('cuda'):
        lines.append(
            '- on a CPU nothing waits: counted are calls after which a GPU would be waited for'
        )
    return '\n'.join(lines)


def _has_facts(part: Mapping[str, Any]) -> bool:
    return 'facts' in part.get('found', {})


def _parts(parts: Mapping[str, Any]) -> str:
    rows = [
        [name, part['state'], part.get('seconds', ''), part.get('error', '')]
        for name, part in parts.items()
    ]
    return _bare_table(['part', 'state', 's', 'error'], rows)


def _predictions(results: Mapping[str, Any]) -> str:
    rows = [[one.what, one.expected, _number(one.measured), one.verdict] for one in judge(results)]
    return _bare_table(['predicted', 'expected', 'measured', 'verdict'], rows)


def _numerics(found: Mapping[str, Any]) -> Iterator[str]:
    losses = found_in(found, 'losses')
    yield (
        'Error of value / gradient relative to float64 on the CPU, in the 2-norm. A gradient in '
        'half precision is rounded to it: 2e-4 in float16 and 2e-3 in bfloat16 are rounding alone. '
        'deterministic: float32 under deterministic algorithms, and whether two calls have the '
        'same bits.'
    )
    modes = list(dict.fromkeys(mode for one in losses.values() for mode in one if mode != 'error'))
    rows = [[name, *(_errors(one.get(mode)) for mode in modes)] for name, one in losses.items()]
    yield _bare_table(['loss', *modes], rows)
    yield from _failures(losses)


def _errors(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ''
    if 'error' in one:
        return 'ERROR'
    text = ' / '.join(
        'NOT FINITE' if one[key] is None else f'{one[key]:.1e}' for key in ('value', 'gradient')
    )
    if 'same_bits' in one:
        text += ', same bits' if one['same_bits'] else ', OTHER BITS'
    return text


def _losses(found: Mapping[str, Any]) -> Iterator[str]:
    yield f'Forward and backward. {_EXPLANATION}'
    for title, rows in found.items():
        if title == 'facts':
            continue
        yield f'### {title}'
        yield _table(rows, list(_MEASURES))
        yield from _failures(rows)
        places = {name: one['waits'] for name, one in rows.items() if one.get('waits')}
        if places:
            yield '\n'.join(f'- {name} waits at {_places(seen)}' for name, seen in places.items())


def _steps(found: Mapping[str, Any]) -> Iterator[str]:
    setup = found_in(found, 'setup')
    title = f'{setup.get("pair")}, {setup.get("size")}, {setup.get("precision")}'
    yield from _failures(found_in(found, 'models'))
    for table, text in (('steps', 'training steps'), ('forms', 'forms of the teacher')):
        for batch, rows in found_in(found, table).items():
            yield f'### {title}, {batch}: {text}'
            if 'error' in rows:
                yield f'- {rows["error"]}'
            rows = {name: one for name, one in rows.items() if isinstance(one, Mapping)}
            if rows:
                yield _table(rows, [key for key in _MEASURES if key != 'ms in a row'])
                yield from _failures(rows)
                if table == 'steps':
                    yield from _waits_of_steps(rows)


def _waits_of_steps(rows: Mapping[str, Any]) -> Iterator[str]:
    plain = found_in(rows, PLAIN).get('waits', {})
    lines = [f'- {PLAIN} waits at {_places(plain)}'] if plain else []
    for name, one in rows.items():
        if name != PLAIN and 'waits' in one:
            more = _places(beyond(one['waits'], plain))
            lines.append(f'- {name} waits beyond the plain step at {more or "no place"}')
    if lines:
        yield '\n'.join(lines)


def _places(seen: Mapping[str, int]) -> str:
    return ', '.join(f'`{place}` ({count})' for place, count in Counter(seen).most_common())


def _table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> str:
    used = [key for key in columns if any(_MEASURES[key][0] in one for one in rows.values())]
    with_ratio = any('ratio' in one for one in rows.values())
    header = ['', *used, *(['over plain', 'range'] if with_ratio else []), 'waits']
    cells = []
    for name, one in rows.items():
        row = [name, *(_scaled(one, *_MEASURES[key]) for key in used)]
        if with_ratio:
            ratio = one.get('ratio') or (None, None, None)
            between = '' if ratio[1] is None else f'{ratio[1]:.3f} to {ratio[2]:.3f}'
            row += ['' if ratio[0] is None else f'{ratio[0]:.3f}', between]
        cells.append([*row, sum(one['waits'].values()) if 'waits' in one else ''])
    return _bare_table(header, cells)


def _scaled(one: Mapping[str, Any], key: str, factor: float) -> str:
    return _number(one[key] * factor) if key in one else ''


def _failures(rows: Mapping[str, Any]) -> Iterator[str]:
    """Yield one list with the errors of all rows, and of what is below them."""
    lines = []
    for name, one in rows.items():
        if 'error' in one:
            lines.append(f'- {name}: {one["error"]}')
        for mode, below in one.items():
            if isinstance(below, Mapping) and 'error' in below:
                lines.append(f'- {name}, {mode}: {below["error"]}')
    if lines:
        yield '\n'.join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:.3g}' if abs(value) < 1e3 else f'{value:.0f}'


def all_done(results: Mapping[str, Any]) -> bool:
    """Whether every part came to its end."""
    return all(part['state'] == DONE for part in results['parts'].values())
