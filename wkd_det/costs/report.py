"""Reports about class distances, against known groups such as COCO's supercategories."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wkd_det.costs.contrast import likeness_to_constant
from wkd_det.costs.files import CostFile
from wkd_det.costs.matrix import BACKGROUND, positions_of
from wkd_det.costs.similarity import distance_to_cost
from wkd_det.costs.structure import matrix_correlation, off_diagonal_spread, structure_report
from wkd_det.runtime.class_names import positions_by_name
from wkd_det.runtime.files import write_whole

_SHIPPED = Path(__file__).parent / 'groupings'


def shipped_groupings() -> list[str]:
    """Names of the groupings in the package.

    Example:
        >>> shipped_groupings()
        ['cifar100', 'coco']
    """
    return sorted(path.stem for path in _SHIPPED.glob('*.json'))


def read_grouping(source: str | os.PathLike) -> dict[str, str]:
    """Read the group of each class, in the order of the classes.

    Args:
        source: ``'coco'`` (80 classes, 12 supercategories), ``'cifar100'`` (100 classes, 20
            superclasses), or a JSON file ``{class: group}``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds something else.

    Example:
        >>> grouping = read_grouping('coco')
        >>> len(grouping), grouping['zebra']
        (80, 'animal')
    """
    shipped = str(source) in shipped_groupings()
    path = _SHIPPED / f'{source}.json' if shipped else Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f'grouping not found: {path} (from {os.getcwd()}); shipped ones are '
            f'{", ".join(shipped_groupings())}'
        )
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is no JSON file: {error}') from None
    if not isinstance(content, dict) or not all(isinstance(one, str) for one in content.values()):
        raise ValueError(f'{path} must hold one dict {{class: group}} of names')
    return content


def groups_of(class_names: Sequence[str], grouping: dict[str, str], holder: str) -> list[str]:
    """Look up the group of each class by name; background is a group of its own.

    Args:
        class_names: Names of the classes.
        grouping: Group by class, see :func:`read_grouping`.
        holder: Name of the grouping in errors.

    Returns:
        Groups in the order of ``class_names``.

    Raises:
        ValueError: If a class has no group; the message names it.
    """
    known = {BACKGROUND: BACKGROUND, **grouping}
    groups = list(known.values())
    positions = positions_of(class_names, list(known), holder, wanted_by='the file')
    return [groups[position] for position in positions]


def interrelation_report(
    content: CostFile,
    *,
    grouping: str | os.PathLike | None = None,
    num_neighbors: int = 5,
    sharpness: float = 1.0,
    compare: dict[str, CostFile] | None = None,
) -> dict[str, Any]:
    """Figures about the structure of class distances, by the names of the classes.

    Args:
        content: The distances; classes without names are named by their index.
        grouping: See :func:`read_grouping`.
        num_neighbors: Nearest classes to list, and to compare with the grouping.
        sharpness: Sharpness of the costs, whose spread is reported next to that of the
            distances.
        compare: Other distances by title, matched by name where both have names, by position
            otherwise.

    Returns:
        The entries of :func:`~wkd_det.functional.structure_report`, with names in place of
        indices, ``correlation`` by title, ``sharpened``, the spread of the costs and how alike
        they act to a constant one, and ``made_by``, the file's metadata.

    Raises:
        ValueError: If a class has no group, or two matrices have no classes in common.
    """
    names = names_of(content)
    groups = None
    if grouping is not None:
        groups = groups_of(names, read_grouping(grouping), f'the grouping {grouping}')
    figures = structure_report(content.distance, num_neighbors=num_neighbors, groups=groups)
    nearest = figures.pop('nearest_classes')
    report = dict(made_by=content.metadata, class_names=names, **figures)
    cost = distance_to_cost(content.distance.double(), sharpness=sharpness)
    report['sharpened'] = dict(
        sharpness=sharpness,
        **off_diagonal_spread(cost),
        likeness_to_constant=likeness_to_constant(cost),
    )
    report['nearest_classes'] = {
        name: [names[index] for index in indices]
        for name, indices in zip(names, nearest['indices'])
    }
    if compare:
        report['correlation'] = {
            title: _correlation(content, other, title) for title, other in compare.items()
        }
    return report


def names_of(content: CostFile) -> list[str]:
    """Names of the classes, or their indices where there are no names."""
    if content.class_names is not None:
        return content.class_names
    return [str(index) for index in range(len(content.distance))]


def with_class_names(content: CostFile, source: str | os.PathLike | None) -> CostFile:
    """Return the same distances with names for their classes.

    Args:
        content: Distances without names.
        source: A text file with a name per line, a shipped grouping, whose classes are the
            names, or None to leave everything as it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has names already, or their number is not that of classes.
    """
    if source is None:
        return content
    if content.class_names is not None:
        raise ValueError('class names are for files without names, this one has them')
    if str(source) in shipped_groupings():
        names = list(read_grouping(source))
    else:
        names = [line for line in Path(source).read_text(encoding='utf-8').splitlines() if line]
    if len(names) != len(content.distance) or len(set(names)) != len(names):
        raise ValueError(
            f'{source} must name {len(content.distance)} different classes, got {len(names)}, '
            f'{len(set(names))} of them different'
        )
    return replace(content, class_names=names)


def write_report(path: str | os.PathLike, report: dict[str, Any]) -> None:
    """Write a report as JSON, whole or not at all."""
    write_whole(path, (json.dumps(report, indent=2) + '\n').encode())


def report_text(report: dict[str, Any], *, max_classes: int = 30) -> str:
    """Return a report in words.

    Args:
        report: Result of :func:`interrelation_report`.
        max_classes: Number of classes whose nearest ones are listed.
    """
    return '\n'.join(
        [
            *_made_by(report['made_by']),
            *_figures(report),
            *_grouping(report.get('grouping')),
            *_correlations(report.get('correlation', {})),
            *_nearest(report['nearest_classes'], max_classes),
        ]
    )


def _correlation(content: CostFile, other: CostFile, title: str) -> dict[str, Any]:
    if content.class_names is None or other.class_names is None:
        if len(content.distance) != len(other.distance):
            raise ValueError(
                f'{title} covers {len(other.distance)} classes and the other file '
                f'{len(content.distance)}, and without names they cannot be matched'
            )
        figures = matrix_correlation(content.distance, other.distance)
        return dict(figures, num_classes=len(content.distance), matched='by position')
    found = positions_by_name(content.class_names, other.class_names, 'the file', title)
    own = [index for index, position in enumerate(found) if position is not None]
    others = [position for position in found if position is not None]
    if len(own) < 3:
        raise ValueError(f'{title} has {len(own)} of these classes, a correlation needs at least 3')
    figures = matrix_correlation(content.distance[own][:, own], other.distance[others][:, others])
    return dict(figures, num_classes=len(own), matched='by name')


def _made_by(metadata: dict[str, Any]) -> list[str]:
    if not metadata:
        return ['the file does not say how it was made']
    lines = [
        f'{metadata.get("method")} on {metadata.get("layer", "the classifier")} of '
        f'{metadata.get("config")}, {metadata.get("checkpoint")}'
    ]
    counts = metadata.get('counts')
    if counts:
        least = min(counts, key=counts.get)
        lines.append(
            f'examples: {sum(counts.values())} in all, fewest of {least} ({counts[least]})'
        )
    if metadata.get('examples_per_class'):
        lines.append(f'aligned over {metadata["examples_per_class"]} examples of each class')
    if metadata.get('without_examples'):
        lines.append(
            f'WITHOUT EXAMPLES, at the distance {metadata["distance_without_examples"]:.4g} of '
            f'every class: {", ".join(metadata["without_examples"])}'
        )
    return lines


def _figures(report: dict[str, Any]) -> list[str]:
    spread, effect, rank = (
        report[name] for name in ('off_diagonal', 'additive_effect', 'effective_rank')
    )
    lines = [
        f'{report["num_classes"]} classes; distances {spread["min"]:.4g} to {spread["max"]:.4g}, '
        f'mean {spread["mean"]:.4g}, standard deviation {spread["std"]:.4g}'
    ]
    cost = report['sharpened']
    lines.append(
        f'costs at sharpness {cost["sharpness"]:g}: {cost["min"]:.4g} to {cost["max"]:.4g}, '
        f'mean {cost["mean"]:.4g}, standard deviation {cost["std"]:.4g}'
    )
    lines.append(
        f'a transport with them (epsilon 0.05) has gradients like one with a constant cost: cosine '
        f'{cost["likeness_to_constant"]:.3f}'
    )
    if effect['share'] is not None:
        lines.append(
            f'share of their variance that is one number per class: {effect["share"]:.1%} '
            f'(chance {effect["chance"]:.1%})'
        )
    if rank['value'] is not None:
        lines.append(
            f'effective rank: {rank["value"]:.1f} of {rank["maximum"]} (equal distances have '
            f'{rank["maximum"]})'
        )
    return lines


def _grouping(grouping: dict[str, Any] | None) -> list[str]:
    if grouping is None:
        return []
    lines = [
        f'{grouping["agreement"]:.1%} of the {grouping["num_neighbors"]} nearest classes share '
        f'the group (chance {grouping["chance"]:.1%}, its standard deviation '
        f'{grouping["chance_std"]:.1%})'
    ]
    lines += [
        f'  {one["group"]} ({one["size"]}): {one["agreement"]:.1%} (chance {one["chance"]:.1%})'
        for one in grouping['per_group']
    ]
    return lines


def _correlations(correlations: dict[str, Any]) -> list[str]:
    lines = []
    for title, one in correlations.items():
        values = [
            'none' if one[kind] is None else f'{one[kind]:.3f}'
            for kind in ('pearson', 'spearman', 'pairwise')
        ]
        lines.append(
            f'correlation with {title}: Pearson {values[0]}, Spearman {values[1]}, '
            f'without effects of single classes {values[2]} '
            f'({one["num_classes"]} classes, matched {one["matched"]})'
        )
    return lines


def _nearest(nearest: dict[str, list[str]], max_classes: int) -> list[str]:
    lines = ['nearest classes:']
    shown = list(nearest.items())[:max_classes]
    lines += [f'  {name}: {", ".join(others)}' for name, others in shown]
    if len(nearest) > len(shown):
        lines.append(f'  and {len(nearest) - len(shown)} more classes, see --report')
    return lines
