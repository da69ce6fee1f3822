"""Building terms from the section ``distill`` of a config."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from wkd_det import registry
from wkd_det.distillation.connecting import borrow_connectors, build_connectors
from wkd_det.distillation.extras import extras_of, reads_teacher
from wkd_det.distillation.gradient_share import split_weight
from wkd_det.distillation.tap import Tap
from wkd_det.distillation.term import Term, said_of
from wkd_det.distillation.told import told
from wkd_det.losses.base import adopt as adopt_loss
from wkd_det.runtime.config import build_strict, check_keys, keyword_names


def build_terms(
    config: Mapping[str, Any], student: nn.Module, teachers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Term]:
    """Build the terms of a section ``distill``, those that borrow a connector last.

    Args:
        config: Sections of terms by name.
        student: The network that is trained; its widths are read.
        teachers: Model configs of the teachers by name; their widths are read.

    Raises:
        TypeError, KeyError, ValueError: With the place in the config and what is valid there.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f'distill must be a dict of terms by name, got {config!r}')
    for name in config:
        if not (isinstance(name, str) and name.startswith('loss_') and name != 'loss_'):
            raise ValueError(
                f"names under distill must start with 'loss_' to be summed, and go on, got {name!r}"
            )
    terms: dict[str, Term] = {}
    for name in sorted(config, key=lambda name: _borrows(config[name])):  # a stable sort
        terms[name] = build_term(name, config[name], student, teachers, terms)
    return {name: terms[name] for name in config}


def build_term(
    name: str,
    config: Mapping[str, Any],
    student: nn.Module,
    teachers: Mapping[str, Mapping[str, Any]],
    lenders: Mapping[str, Term],
) -> Term:
    """Build a term from its section of ``distill``.

    Args:
        name: Key of the section.
        config: ``tap``, ``loss``, optionally ``connector`` (a config, or the name of the term
            whose connectors are shared), ``teacher`` (a name, where there are several), and the
            options of the tap.
        student: The network that is trained; its widths are read.
        teachers: Model configs of the teachers by name; their widths are read.
        lenders: Terms whose connectors may be shared.

    Raises:
        TypeError, KeyError, ValueError: With the place in the config and what is valid there.
    """
    section = f'distill.{name}'
    if not isinstance(config, Mapping):
        raise TypeError(f'{section} must be a dict, got {config!r}')
    tap_class = student.find_tap(section, config.get('tap'))
    options = keyword_names(tap_class)
    check_keys(section, config, ['tap', 'loss', 'connector', 'teacher', *options])
    chosen = {key: config[key] for key in options if key in config}
    try:
        inspect.signature(tap_class).bind(**chosen)
    except TypeError as error:
        raise TypeError(f'{section} with the tap {config.get("tap")!r}: {error}') from None
    tap = tap_class(**chosen)
    with said_of(section):
        tap.look(student)
    if 'loss' not in config:
        raise KeyError(f'{section}.loss is missing')
    loss_config, share = split_weight(section, config['loss'])
    cls = _loss_class(section, loss_config, tap.yields)
    if isinstance(getattr(cls, 'takes', None), str):
        _check_takes(section, config['tap'], tap, cls)
    if not getattr(cls, 'needs_teacher', True) and tap.needs_teacher:
        if not tap.reads_alone:
            raise ValueError(
                f'{section}: {cls.__name__} compares with no teacher, and the tap '
                f'{config["tap"]!r} reads one'
            )
        tap.needs_teacher = False
    teacher = _teacher_of(section, config, teachers, reads=tap.needs_teacher)
    with said_of(section):
        binding = tap.bind(student, teachers[teacher] if tap.needs_teacher else None)
    mixes_widths = getattr(cls, 'mixes_widths', False)
    connectors = (
        borrow_connectors(section, config['connector'], binding, teacher, lenders)
        if _borrows(config)
        else build_connectors(section, config.get('connector'), binding, mixes_widths)
    )
    with said_of(section):
        tap.check(connectors)
    facts = told(student, tap.yields, binding, connectors, keyword_names(cls))
    loss = build_strict(f'{section}.loss', loss_config, _losses(tap.yields), **facts)
    loss = adopt_loss(loss, tap.yields)
    _check_takes(section, config['tap'], tap, loss)
    if binding.num_classes is not None:
        loss.reserve(binding.num_classes)
    given = student.extras if loss.needs else ()
    extras = extras_of(section, loss, tap, given, type(student).__name__)
    teacher = _teacher_of(section, config, teachers, reads=reads_teacher(tap, extras))
    if teacher is None and config.get('teacher') is not None:
        raise ValueError(
            f'{section}.teacher is {config["teacher"]!r}, but neither the tap '
            f'{config["tap"]!r} nor {type(loss).__name__} reads a teacher: leave it out'
        )
    return Term(name, tap, binding, connectors, loss, extras, teacher=teacher, gradient_share=share)


def _teacher_of(
    section: str, config: Mapping[str, Any], teachers: Mapping[str, Any], *, reads: bool
) -> str | None:
    """Name of the teacher of a term; None if it reads none.

    Raises:
        KeyError: If it reads one and there is none, none of its name, or several and no name.
    """
    name, known = config.get('teacher'), list(teachers)
    if name is not None and name not in known:
        raise KeyError(f'{section}.teacher must be one of {known}, got {name!r}')
    if not reads:
        return None
    if not known:
        raise KeyError(f'{section} needs a teacher: set teacher=dict(config=..., checkpoint=...)')
    if name is None and len(known) > 1:
        raise KeyError(
            f'{section} needs a teacher, and there are {len(known)}: set its teacher to one of '
            f'{known}'
        )
    return known[0] if name is None else name


def _loss_class(section: str, config: Any, yields: str) -> Any:
    """The class of a loss before it is built: the connectors are built before it."""
    kind = config.get('type') if isinstance(config, Mapping) else None
    cls = registry.find(kind) if isinstance(kind, str) else kind
    if not callable(cls):
        build_strict(f'{section}.loss', config, _losses(yields))  # raises
    check_keys(f'{section}.loss', set(config) - {'type'}, keyword_names(cls))
    return cls


def _check_takes(section: str, name: Any, tap: Tap, loss: Any) -> None:
    if loss.takes != tap.yields:
        kind = loss if isinstance(loss, type) else type(loss)
        raise ValueError(
            f'{section}: the tap {name!r} yields {tap.yields}, '
            f'but {kind.__name__} takes {loss.takes}'
        )


def _borrows(config: Any) -> bool:
    return isinstance(config, Mapping) and isinstance(config.get('connector'), str)


def _losses(takes: str) -> Iterable[str]:
    return [name for name, cls in registry.known().items() if getattr(cls, 'takes', None) == takes]
