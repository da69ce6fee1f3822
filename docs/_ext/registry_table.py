"""Tables of all names that configs use, from the registry of the package."""

from __future__ import annotations

from wkd_det import registry

TABLES = {
    'Losses': registry.LOSSES,
    'Connectors': registry.CONNECTORS,
    'Sources of class costs': registry.COST_SOURCES,
    'Weights of losses': registry.WEIGHTS,
    'Taps of detectors': registry.TAPS,
    'Taps of classifiers': registry.CLASSIFIER_TAPS,
    'Teachers of maps': registry.TEACHERS_OF_MAPS,
    'Classifiers': registry.CLASSIFIERS,
    'Data sets of detectors': registry.DETECTION_DATASETS,
    'Data sets of classifiers': registry.REGISTERED['DATASETS'],
    'Samplers': registry.REGISTERED['DATA_SAMPLERS'],
    'Hooks': registry.REGISTERED['HOOKS'],
}


def summary(found: type) -> str:
    """First sentence of a docstring, on one line."""
    return ' '.join((found.__doc__ or '').strip().split('\n\n')[0].split())


def tables() -> str:
    """The tables in reStructuredText."""
    lines: list[str] = []
    for title, table in TABLES.items():
        lines += [title, '-' * len(title), '', '.. list-table::', '   :widths: 30 70', '']
        for name, home in table.items():
            found = registry.load(name, home)
            path = f'{found.__module__}.{found.__qualname__}'
            lines += [f'   * - :class:`{name} <{path}>`', f'     - {summary(found)}']
        lines.append('')
    return '\n'.join(lines)
