"""Report of a study, from its records alone: the folder of tables and figures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wkd_det.experiments import figures
from wkd_det.experiments.hypotheses import verdicts
from wkd_det.experiments.run import RunError
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.study import Key, Study, check_together
from wkd_det.experiments.tables import (
    claims_table,
    confusions_table,
    failures_list,
    machines_table,
    main_table,
    missing_list,
    search_table,
    summarise,
)
from wkd_det.ops.checks import is_number
from wkd_det.runtime.files import write_whole

_HOW_CONFUSED = (
    'Do two methods confuse other classes? A kind is a pair of a true class and another, predicted '
    'one; each is compared by a paired t-test over seeds. "Corrected": those with p < 0.05 after '
    'the correction of Benjamini and Hochberg.'
)


def write_report(study: Study, output: Path) -> str:
    """Write ``table.md``, ``results.csv`` and figures; return the text of the first.

    Args:
        study: The study; nothing but its records is read.
        output: Folder of the files.

    Raises:
        ChangedError: If the records do not belong together, or are not those of the spec.
        RunError: If there are none.
    """
    spec = study.spec
    results = study.results()
    records = study.records()
    missing, later = study.pending(), study.later()
    if not records:
        raise RunError(f'nothing to report: there is no record in {spec.records}')
    check_together(records)
    parts = [f'# {spec.title}', f'`python tools/compare.py {_shown(spec.path)} --report-only`']
    rows = summarise(study, results)
    claims = verdicts(study, results)
    if results:
        parts += [_how(study), main_table(spec, rows)]
    if any(row.exploratory for row in rows):
        parts.append('\\* exploratory: in no hypothesis.')
    if missing or later:
        parts.append(missing_list(study, missing, later))
    if claims:
        parts += ['## Hypotheses', _how_tested(len(claims)), claims_table(claims)]
    kinds = confusions_table(study, results)
    if kinds:
        parts += ['## Kinds of mistakes', _HOW_CONFUSED, kinds]
    if spec.search is not None:
        parts += ['## Search', _how_searched(study), search_table(study, records)]
    failures = failures_list(records)
    if failures:
        parts.append(failures)
    parts += ['## Machines', machines_table(records)]
    text = '\n\n'.join(parts) + '\n'
    write_whole(output / 'table.md', text)
    write_whole(output / 'results.csv', csv_text(study, records))
    if results:
        _draw(study, results, rows, output)
    return text


def _draw(study: Study, results: Any, rows: Any, output: Path) -> None:
    spec = study.spec
    figures.learning_curves(spec, results, output / 'learning_curves.png')
    if any(any(row.differences.values()) for row in rows):
        figures.forest_plot(spec, rows, output / 'forest.png')
    if spec.lengths:
        others = [Study(read_spec(path)) for path in spec.lengths]
        figures.gain_over_length([study, *others], output / 'gain.png')
    figures.calibration_curves(spec, results, output / 'calibration.png')
    figures.kinds_of_mistakes(spec, results, output / 'mistakes.png')
    figures.confusions(study, results, output / 'confusion.png')


def csv_text(study: Study, records: Mapping[Key, Mapping[str, Any]]) -> str:
    """Return a table with one line per record: what it is, its numbers, what it took."""
    metric = study.spec.metric
    keys = {
        key
        for record in records.values()
        for key, value in record['metrics'].items()
        if is_number(value)
    }
    metrics = sorted(keys, key=lambda key: (key != metric, key))  # that of the study comes first
    costs = ['seconds', 'cpu_seconds', 'seconds_per_step', 'peak_memory', 'starts']
    output = io.StringIO()
    writer = csv.writer(output, lineterminator='\n')
    writer.writerow(
        ['stage', 'method', 'factors', 'seed', *metrics, *costs, 'commit', 'fingerprint', 'date']
    )
    for key, record in records.items():
        writer.writerow(
            [key.stage, key.method, ' '.join(f'{factor:g}' for factor in key.point), key.seed]
            + [record['metrics'].get(one, '') for one in metrics]
            + [record.get(one, '') for one in costs]
            + [record['commit'] or '', record['fingerprint'], record['date']]
        )
    return output.getvalue()


def _shown(path: Path) -> str:
    """Return a path as a reader of the repository gives it."""
    path = path.resolve()
    here = Path.cwd()
    return (
        os.path.relpath(path, here) if here in path.parents else f'{path.parent.name}/{path.name}'
    )


def _how(study: Study) -> str:
    spec = study.spec
    length = f', length {spec.length}' if spec.length else ''
    commit = f', commit {", ".join(spec.commits)}' if spec.commits else ''
    return (
        f'Seeds {", ".join(map(str, spec.seeds))}{length}{commit}. Mean ± standard deviation over '
        'seeds; differences are paired by seed, with the 95 % t interval of their mean.'
    )


def _how_tested(count: int) -> str:
    return (
        f'p is that of the paired t-test, "Holm" the same corrected for {count} hypotheses. '
        'Supported: below 0.05 after the correction. Refuted: the 95 % interval lies on the wrong '
        'side as a whole.'
    )


def _how_searched(study: Study) -> str:
    search = study.spec.search
    if search.of is not None:
        return f'Factors are those that {search.of.path.name} has chosen.'
    text = (
        f'Seeds {", ".join(map(str, search.seeds))}, none of them in the table above; mean of '
        f'{study.spec.metric} by factor, the best one bold. Stages are searched one after the '
        'other. Every method has the same stages and start factors; a grid whose best factor lies '
        f'at its edge goes on, by at most {search.widen} a side.'
    )
    if search.check is not None:
        text += (
            f' The best {search.check.factors} points are trained again at the length of the '
            'check, and the neighbours of the best one there in the last stage, until it lies '
            'between them; it is chosen.'
        )
    return text
