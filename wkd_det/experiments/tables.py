"""Tables of a study as Markdown: methods, hypotheses, search, missing runs, machines."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkd_det.experiments.confusions import compared
from wkd_det.experiments.hypotheses import Verdict, best_rival
from wkd_det.experiments.search import StageResult, mean
from wkd_det.experiments.spec import Column, Method, Spec
from wkd_det.experiments.statistics import ALPHA, Difference, Mean, mean_of, paired_difference
from wkd_det.experiments.study import FINAL, Key, Results, Study, values_ending, values_of

_NAMED = 24  # missing runs that are listed by name
_REASON = 120  # characters of a reason that is shown


@dataclass(frozen=True)
class Row:
    """One method of the table."""

    name: str
    title: str
    exploratory: bool
    planned: int
    """Seeds that it is to have."""
    means: Mapping[str, Mean]
    """Mean of each column by its key; those without a value are left out."""
    differences: Mapping[str, Difference | None]
    """Difference to each reference by its name; None to itself and without common seeds."""
    cpu: float
    """CPU seconds of a run, median over seeds; NaN without a run."""
    relative_cpu: float
    """CPU time of a run as multiple of that of the first reference, each in units of its machine,
    medians over seeds; NaN without one, or if the records do not know their unit."""
    seconds: float
    """Duration of a step in seconds, median over seeds; NaN without a run."""
    extra_memory: float
    """MiB above the first reference, medians over seeds; NaN without one."""


def summarise(study: Study, results: Results) -> list[Row]:
    """Return the rows of all methods, in the order of the spec, also of those without a run."""
    spec = study.spec
    values = {method.name: values_of(results, method.name, spec.metric) for method in spec.methods}
    first = results.get(spec.references[0], {}) if spec.references else {}
    rows = []
    for method in spec.methods:
        records = results.get(method.name, {})
        columns = {
            column.key: list(values_of(results, method.name, column.key).values())
            for column in (spec.column, *spec.columns)
        }
        rows.append(
            Row(
                name=method.name,
                title=_title(method),
                exploratory=spec.exploratory(method.name),
                planned=len(method.seeds),
                means={key: mean_of(found) for key, found in columns.items() if found},
                differences={
                    name: None
                    if name == method.name
                    else paired_difference(values[method.name], values[name])
                    for name in spec.references
                },
                cpu=_median(record['cpu_seconds'] for record in records.values()),
                relative_cpu=_units(records) / _units(first),
                seconds=_median(record['seconds_per_step'] for record in records.values()),
                extra_memory=_memory(records) - _memory(first),
            )
        )
    return rows


def _title(method: Method) -> str:
    return method.title if method.length is None else f'{method.title} (length {method.length})'


def main_table(spec: Spec, rows: Sequence[Row]) -> str:
    """Return the table of methods; a cell without a run says that it is missing."""
    head = ['method', 'seeds', _head(spec.column)]
    head += [f'minus {spec.method(name).title} [95 %]' for name in spec.references]
    head += [_head(column) for column in spec.columns]
    has_units = any(not math.isnan(row.relative_cpu) for row in rows)
    head += ['CPU s / run', *(['CPU, relative'] if has_units else []), 's / step']
    head += ['extra memory (MiB)']
    lines = []
    for row in rows:
        first = row.means.get(spec.metric)
        count = 0 if first is None else first.count
        cells = [row.title + (' \\*' if row.exploratory else '')]
        cells.append(str(count) if count == row.planned else f'{count} of {row.planned}')
        cells.append(_mean(first, spec.column))
        cells += [
            _difference(row.differences[name], spec.column, own=name == row.name)
            for name in spec.references
        ]
        cells += [_mean(row.means.get(column.key), column) for column in spec.columns]
        cells.append(_number(row.cpu, '.0f'))
        cells += [_number(row.relative_cpu, '.2f')] if has_units else []
        cells += [_number(row.seconds, '.3f'), _number(row.extra_memory, '+.0f')]
        lines.append(cells)
    return _table(head, lines)


def claims_table(claims: Sequence[Verdict]) -> str:
    """Return the table of hypotheses: what is compared, its difference, p-values, the outcome."""
    lines = []
    for one in claims:
        claim, count = one.claim, one.difference.count if one.difference else 0
        rival = one.rival or 'the best of ' + ', '.join(claim.over)
        text = f'{one.title} over {rival}'
        if claim.margin:
            text += f', no worse by {claim.margin:g}'
        if claim.study is not None:
            text += f' ({claim.study.stem})'
        lines.append(
            [
                claim.name + (f': {claim.title}' if claim.title else ''),
                text,
                _head(claim.column),
                str(count) if count == one.planned else f'{count} of {one.planned}',
                _difference(one.difference, claim.column),
                _p(one.p),
                '' if math.isnan(one.p) else _p(one.adjusted),
                one.outcome,
            ]
        )
    head = ['hypothesis', 'comparison', 'metric', 'seeds', 'difference [95 %]', 'p', 'Holm', '']
    return _table(head, lines)


def confusions_table(study: Study, results: Results) -> str:
    """Return the table of how far the mistakes of the methods of each hypothesis differ in kind.

    It is empty without results of that kind.
    """
    claims = [claim for claim in study.spec.hypotheses if claim.study is None]
    pairs = dict.fromkeys((claim.method, best_rival(study, claim.over)) for claim in claims)
    lines = []
    for own, rival in pairs:
        if rival is None:
            continue
        found = compared(*(values_ending(results, name, 'confusion') for name in (own, rival)))
        if found is not None:
            titles = [study.spec.method(name).title for name in (own, rival)]
            lines.append(
                [
                    ' over '.join(titles),
                    str(found.seeds),
                    f'{found.more:+.0f}',
                    f'{found.differing} of {found.kinds}',
                    f'{ALPHA * found.kinds:.3g}',
                    str(found.corrected),
                    f'{found.correlation:.3f}',
                ]
            )
    head = ['comparison', 'seeds', 'mistakes', 'kinds with p < 0.05', 'by chance', 'corrected']
    return _table([*head, 'correlation'], lines) if lines else ''


def search_table(study: Study, records: Mapping[Key, Mapping[str, Any]]) -> str:
    """Return the table of the search: all factors with their means, the choice, its limits."""
    lines = []
    for method in study.spec.methods:
        if study.spec.search.of is not None or method.like != method.name:
            lines.append([method.title, f'as {method.like}', _chosen(study, method, records)])
            continue
        choice = study.choice(method)
        digits = study.spec.column.digits
        shown = [_stage(index, one, digits) for index, one in enumerate(choice.state.stages)]
        if choice.check:
            points = ', '.join(
                f'{_point(point)}: {_score(value, digits)}' for point, value in choice.check.items()
            )
            agrees = 'the same winner' if choice.agrees else 'another winner'
            limit = ' (**its best has a neighbour left**)' if choice.at_limit else ''
            shown.append(f'check: {points}: {agrees}{limit}')
        lines.append([method.title, '<br>'.join(shown), _chosen(study, method, records)])
    return _table(['method', 'factor: mean', 'chosen'], lines)


def failures_list(records: Mapping[Key, Mapping[str, Any]]) -> str:
    """Return a paragraph that says why runs of the search have failed; empty without one."""
    failed = {key.name: record['failed'] for key, record in records.items() if 'failed' in record}
    shown = [f'- `{name}`: {_shortened(reason)}' for name, reason in failed.items()]
    return '\n'.join(['**Failed**, and so never chosen:', '', *shown]) if shown else ''


def missing_list(study: Study, missing: Sequence[Key], later: Sequence[Key]) -> str:
    """Return a paragraph with the names of missing runs, or how many each method lacks."""
    finals = [key for key in [*missing, *later] if key.stage == FINAL]
    planned = sum(len(method.seeds) for method in study.spec.methods)
    searched = [key for key in missing if key.stage != FINAL]
    text = f'**Missing**: {len(finals)} of {planned} runs of the table'
    if searched:
        text += f', and {len(searched)} runs of searches that are under way'
    names = [f'`{key.name}`' for key in [*searched, *finals]]
    if len(names) <= _NAMED:
        return f'{text}: {", ".join(names)}.'
    counts = Counter((key.stage, key.method) for key in [*searched, *finals])
    shown = [f'`{stage}/{method}` {count}' for (stage, method), count in counts.items()]
    return f'{text}: {", ".join(shown)}.'


def machines_table(records: Mapping[Key, Mapping[str, Any]]) -> str:
    """Return the table of machines: what they are, how many runs they did and how long."""
    found: dict[tuple[str, ...], list[float | None]] = {}
    for record in records.values():
        machine, versions = record['machine'], record['versions']
        key = (
            str(machine['processor']),
            f'{machine["threads"]} of {machine["cores"]}',
            f'{versions.get("torch", "?")}, {versions.get("python", "?")}',
        )
        found.setdefault(key, []).append(record['cpu_seconds'])
    head = ['processor', 'threads of cores', 'torch, Python', 'runs', 'core hours']
    return _table(
        head,
        [[*key, str(len(seconds)), _hours(seconds)] for key, seconds in sorted(found.items())],
    )


# Cells


def _hours(seconds: Sequence[float | None]) -> str:
    """Return the sum in hours, with a sign for what is not known of some."""
    known = [value for value in seconds if value is not None]
    sign = '' if len(known) == len(seconds) else '> '
    return f'{sign}{sum(known) / 3600:.2f}'


def _stage(index: int, stage: StageResult, digits: int) -> str:
    cells = []
    for factor, values in stage.scores.items():
        value = mean(values)
        text = f'{factor:g}: {_score(value, digits)}'
        cells.append(f'**{text}**' if factor == stage.best else text)
    limit = ' (**at the edge** of the widened grid)' if stage.at_limit else ''
    return f'{index + 1}) {", ".join(cells)}{limit}'


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _REASON else f'{reason[:_REASON]} ...'


def _score(value: float, digits: int) -> str:
    return 'failed' if math.isnan(value) else f'{value:.{digits}f}'


def _chosen(study: Study, method: Method, records: Mapping[Key, Mapping[str, Any]]) -> str:
    chosen = study.choice(method).chosen
    if chosen is None:
        return 'not yet'
    values = next(
        (
            record['values']
            for key, record in records.items()
            if (key.method, key.point) == (method.name, chosen)
        ),
        {},
    )
    named = [f'`{key}` {value:g}' for key, value in values.items()]
    return f'{_point(chosen)}' + (f': {", ".join(named)}' if named else '')


def _point(point: Sequence[float]) -> str:
    return ' '.join(f'x{factor:g}' for factor in point)


def _head(column: Column) -> str:
    return column.title + (' ↑' if column.higher else ' ↓')


def _mean(value: Mean | None, column: Column) -> str:
    if value is None:
        return 'missing'
    spread = '' if math.isnan(value.deviation) else f' ± {value.deviation:.{column.digits}f}'
    return f'{value.value:.{column.digits}f}{spread}'


def _difference(difference: Difference | None, column: Column, *, own: bool = False) -> str:
    if difference is None:
        return '' if own else 'missing'
    form = f'+.{column.digits}f'
    text = format(difference.value, form)
    if not math.isnan(difference.low):
        text += f' [{difference.low:{form}}, {difference.high:{form}}]'
    return f'{text}, {difference.ahead}/{difference.count} above'


def _p(value: float) -> str:
    if math.isnan(value):
        return ''
    return '< 0.0001' if value < 1e-4 else f'{value:.4f}'


def _number(value: float, form: str) -> str:
    return '' if math.isnan(value) else format(value, form)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ['---'] * len(head), *lines]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


# Values


def _memory(records: Mapping[int, Mapping[str, Any]]) -> float:
    return _median(record['peak_memory'] for record in records.values())


def _units(records: Mapping[int, Mapping[str, Any]]) -> float:
    """Return how many units of its machine a run takes; NaN if some record does not know."""
    pairs = [
        (record['cpu_seconds'], record['machine'].get('unit_cpu_seconds'))
        for record in records.values()
    ]
    if any(unit is None for _, unit in pairs):
        return math.nan
    return _median(None if seconds is None else seconds / unit for seconds, unit in pairs)


def _median(values: Any) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan
